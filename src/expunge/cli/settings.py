"""From ``--set epochs=10`` to a field of a plug-in, by the field's type."""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from expunge.errors import BadSetting, MissingInput, UnknownName

_WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "10"),
    float: ("a number", "0.01"),
    bool: ("true or false", "true"),
    str: ("a text", "name"),
    Path: ("a path", "runs/history"),
}
"""How a type is said to a person, and an example of it."""


def parsed(assignments: Sequence[str]) -> dict[str, str]:
    """``["epochs=10"]`` as names and texts."""
    found: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise BadSetting(f"{assignment!r} is not KEY=VALUE", hint="write --set epochs=10.")
        if name.strip() in found:
            raise BadSetting(f"{name.strip()} is set twice", hint="set it once.")
        found[name.strip()] = text.strip()
    return found


def build(plugin: type[Any], texts: Mapping[str, str], given: Mapping[type[Any], Any]) -> Any:
    """Make a plug-in from texts; a field without a default takes what is given of its type."""
    known = get_type_hints(plugin)
    names = [item.name for item in fields(plugin)]
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in names:
            raise UnknownName(f"setting of {plugin.__name__}", name, names)
        values[name] = value_of(name, text, known[name])
    for item in fields(plugin):
        bare = item.default is MISSING and item.default_factory is MISSING
        if bare and item.name not in values:
            values[item.name] = _given(plugin, item.name, known[item.name], given)
    return plugin(**values)


def value_of(name: str, text: str, kind: Any) -> Any:
    """One text as a value of this type."""
    try:
        return _read(text, kind)
    except ValueError as why:
        word, example = spoken(kind)
        raise BadSetting(
            f"{name} is {word}, not {text!r}", hint=f"for example --set {name}={example}."
        ) from why


def spoken(kind: Any) -> tuple[str, str]:
    """A type in words, and an example of it."""
    if kind in _WORDS:
        return _WORDS[kind]
    inside = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, inside))}", str(inside[0])
    if _is_union(kind):
        some = [spoken(part) for part in inside if part is not types.NoneType]
        none = " or none" if types.NoneType in inside else ""
        return " or ".join(word for word, _ in some) + none, some[0][1]
    if _is_list(kind):
        each = [spoken(part) for part in inside if part is not Ellipsis] or [_WORDS[str]]
        example = ",".join(example for _, example in each)
        return _several(*each[0]), example
    return f"a {getattr(kind, '__name__', kind)}, by its address", "module:name"


def _several(word: str, example: str) -> str:
    """A list of what a word and its example say."""
    if (word, example) in _WORDS.values() and word.startswith("a "):
        return f"a list of {word.removeprefix('a ')}s, with commas between"
    return f"a list with commas between, each {word}"


def told(value: Any) -> Any:
    """A default as JSON, for a listing: a required setting says so."""
    if value is ...:
        return "required"
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [told(item) for item in value]
    return getattr(value, "__name__", str(value))


def _given(plugin: type[Any], name: str, kind: Any, given: Mapping[type[Any], Any]) -> Any:
    value = given.get(kind) if isinstance(kind, type) else None
    if value is not None:
        return value
    word, example = spoken(kind)
    if isinstance(kind, type) and kind.__name__ == "Recipe":
        raise MissingInput(
            f"{plugin.__name__} trains by the recipe of the original, and the project names none",
            hint='add fit = "module:name" to expunge.toml: how the model was trained.',
        )
    raise MissingInput(
        f"{plugin.__name__} needs the setting {name}: {word}",
        hint=f"add --set {name}={example}.",
    )


def _read(text: str, kind: Any) -> Any:
    """A text as a value of this type; ValueError where it is none."""
    inside = get_args(kind)
    if get_origin(kind) is Literal:
        return _one_of(text, {str(value): value for value in inside})
    if _is_union(kind):
        return _first(text, inside)
    if _is_list(kind):
        return _listed(text, kind)
    plain = _PLAIN.get(kind)
    return _addressed(text, kind) if plain is None else plain(text)


def _number(text: str) -> float:
    value = float(text)
    if value != value:  # noqa: PLR0124 - nan alone differs from itself
        raise ValueError(text)
    return value


def _truth(text: str) -> bool:
    return bool(_one_of(text.lower(), {"true": True, "yes": True, "false": False, "no": False}))


_PLAIN: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: _number,
    bool: _truth,
    str: str,
    Path: Path,
}


def _one_of(text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        raise ValueError(text)
    return known[text]


def _first(text: str, kinds: Sequence[Any]) -> Any:
    """The first of several types that can read the text; none, where none is allowed."""
    if types.NoneType in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        try:
            return _read(text, kind)
        except ValueError:
            continue
    raise ValueError(text)


def _listed(text: str, kind: Any) -> Any:
    parts = [part.strip() for part in text.strip("()[]").split(",") if part.strip()]
    inside = get_args(kind) or (str, ...)
    if get_origin(kind) is tuple and Ellipsis not in inside:
        return tuple(_read(part, one) for part, one in zip(parts, inside, strict=True))
    found = [_read(part, inside[0]) for part in parts]
    return found if (get_origin(kind) or kind) is list else tuple(found)


def _addressed(text: str, kind: Any) -> Any:
    """An object by its address: settings that no text can spell, such as a function."""
    from expunge.cli.guests import resolved  # noqa: PLC0415 - few settings need it

    if kind is types.NoneType or ":" not in text:
        raise ValueError(text)
    found = resolved(text)
    if isinstance(kind, type) and not isinstance(found, kind):
        raise ValueError(text)  # noqa: TRY004 - one fault, whatever does not fit
    return found


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in (tuple, list, Sequence)
