"""What a setting, a function or an object is, as JSON: another one is told from it.

References and shadow models are found again by what made them, so nothing that may change a model
is left out: what functions closed over and lean on, methods with the objects they belong to, and
all that objects hold, as deep as it goes. Of expunge and of installed packages the version speaks.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from expunge.importing import imported, own, text_of
from expunge.storing import digest_json, digest_tensors, digest_text

_ASKED: ContextVar[tuple[object, ...]] = ContextVar("_ASKED", default=())


def as_json(value: Any) -> Any:
    """A setting as JSON: callables by their address, objects by what they say of themselves."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    with _asking(value) as first:
        return _told(value) if first else type(value).__qualname__  # it holds itself


def accounted(value: Any) -> Any:
    """The same, with all that it leans on of the user's own, if it leans on anything."""
    told, behind = as_json(value), ground(value)
    return told if behind is None else [told, behind]


def account(function: Callable[..., Any]) -> Any:
    """A function as JSON: its address; and, where that could be many, its source and closure."""
    if isinstance(function, partial):
        return [account(function.func), as_json(function.args), as_json(function.keywords)]
    if inspect.ismethod(function):
        return [account(function.__func__), as_json(function.__self__)]
    if not hasattr(function, "__qualname__"):  # an object with __call__: its class and its state
        return [account(type(function)), as_json(getattr(function, "__dict__", {}))]
    address = f"{function.__module__}:{function.__qualname__}"
    return f"{address}#{digest_source(function)[:12]}" if "<" in address else address


def digest_source(function: Callable[..., Any]) -> str:
    """Digest of a function's source, its defaults, and what it closed over."""
    taken = [_content(cell) for cell in getattr(function, "__closure__", None) or ()]
    told = [_source(function), as_json(getattr(function, "__defaults__", None)), as_json(taken)]
    named = getattr(function, "__kwdefaults__", None)
    if named:
        told.append(as_json(named))
    if getattr(function, "__name__", "") == "<lambda>":  # there may be two in a line
        told.append(_instructions(function.__code__))
    return digest_json(told)


def ground(value: Any) -> Any:
    """What it leans on of the user's own, as JSON: sources, and numbers beside them; or None.

    An address does not say what stands there, and a source does not say what its names stand for.
    """
    with _asking(value) as first:
        return _ground(value) if first else None


def _told(value: Any) -> Any:
    match value:
        case Path():
            return str(value)
        case Mapping():
            return {str(key): as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case set() | frozenset():
            return sorted((as_json(item) for item in value), key=str)
        case _:
            return _described(value)


def _described(value: Any) -> Any:
    if hasattr(value, "describe"):
        return as_json(value.describe())
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: as_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, nn.Module):
        return [digest_tensors(value.state_dict()), *map(_shape, value.modules())]
    return account(value) if callable(value) else _stable(value)


def _shape(module: nn.Module) -> Any:
    """What a module is besides its tensors: its class, and the settings that it keeps."""
    inside = nn.Module().__dict__.keys()
    return [type(module).__qualname__, {
        key: as_json(kept) for key, kept in vars(module).items() if key not in inside
    }]  # fmt: skip


def _stable(value: Any) -> Any:
    """What an object says of itself, or what it holds; never its place in memory."""
    if isinstance(value, Tensor):
        return digest_tensors({"": value})
    if isinstance(value, np.ndarray):
        return digest_text(str(value.dtype), str(value.shape), value.tobytes().hex())
    said = repr(value)
    if " at 0x" not in said:
        return said
    held = getattr(value, "__dict__", None)
    name = type(value).__qualname__
    return [name, as_json(held)] if held else name


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed into a shell, or written in another language
        return str(getattr(function, "__qualname__", type(function).__qualname__))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _ground(value: Any) -> Any:
    if isinstance(value, ModuleType):
        path = getattr(value, "__file__", None)
        return _file(text_of(path), vars(value)) if path and own(path) else None
    if inspect.isfunction(value) or isinstance(value, type):
        return [digest_source(value), *_leant_on(value)] if _own(value) else None
    return _all(_parts(value))


def _all(values: Iterable[Any]) -> list[Any] | None:
    return [told for value in values if (told := ground(value)) is not None] or None


def _parts(value: Any) -> Iterable[Any]:
    """What an object is made of."""
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, (Mapping, list, tuple)):
        return value.values() if isinstance(value, Mapping) else value
    if inspect.ismethod(value):
        return value.__func__, value.__self__
    if hasattr(value, "describe"):
        return type(value), *(getattr(value, key, None) for key in value.describe())
    if callable(value) or is_dataclass(value):
        return type(value), *getattr(value, "__dict__", {}).values()
    return ()


def _file(text: str, space: Mapping[str, Any]) -> Any:
    """A file's text, and those of the files that it imports, and so on."""
    behind = _imported(text, space)
    return [digest_text(text), behind] if behind else digest_text(text)


def _imported(code: CodeType | str, space: Mapping[str, Any]) -> dict[str, str]:
    package = space.get("__package__") or ""
    return {name: digest_text(text) for name, text in imported(code, package).items()}


def _leant_on(value: Any) -> Iterator[Any]:
    """What stands behind the names that a function or a class uses."""
    if isinstance(value, type):
        yield from (ground(base) for base in value.__bases__)
        yield from (ground(each) for each in map(_inner, vars(value).values()) if each)
        return
    code, space = value.__code__, value.__globals__
    yield from (ground(_content(cell)) for cell in value.__closure__ or ())
    yield ground((value.__defaults__, value.__kwdefaults__))
    yield from _standing({*_names(code)}, space)
    if behind := _imported(code, space):  # where it imports by itself, no name stands for it
        yield behind


def _inner(held: Any) -> Any:
    """The function that a class holds: a method of any kind, or what makes a property; or None."""
    held = getattr(held, "fget", getattr(held, "__func__", held))
    return held if inspect.isfunction(held) else None


def _standing(names: set[str], space: Mapping[str, Any]) -> Iterator[Any]:
    """What these names stand for now."""
    for name in sorted(names & space.keys()):
        found = space[name]
        if inspect.isroutine(found) or isinstance(found, (type, ModuleType)):
            yield [name, ground(found)]
        else:
            yield [name, accounted(found)]
        yield from _read_out(names, found, set())


def _read_out(names: set[str], module: Any, seen: set[int]) -> Iterator[Any]:
    """What these names stand for in a module of the user's, and in modules that it holds.

    Functions and classes are told by its file, and by those that it imports.
    """
    if not isinstance(module, ModuleType) or not _own(module) or id(module) in seen:
        return
    seen.add(id(module))
    for name in sorted(names & vars(module).keys()):
        found = vars(module)[name]
        if isinstance(found, ModuleType):
            yield [name, ground(found)]
            yield from _read_out(names, found, seen)
        elif not (inspect.isroutine(found) or isinstance(found, type)):
            yield [name, accounted(found)]


def _own(value: Any) -> bool:
    """Whether it is of the user's own files, or was typed into a shell or a notebook."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    return name == "__main__" if path is None else own(path)


def _names(code: CodeType) -> Iterator[str]:
    """The names that a function's code, and code inside it, looks up."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _instructions(code: CodeType) -> list[Any]:
    consts = [_instructions(c) if isinstance(c, CodeType) else as_json(c) for c in code.co_consts]
    return [code.co_code.hex(), [*code.co_names], consts]


@contextmanager
def _asking(value: object) -> Iterator[bool]:
    """Whether it is not being told already: what holds itself is told once."""
    asked = _ASKED.get()
    token = _ASKED.set((*asked, value))
    try:
        yield not any(each is value for each in asked)
    finally:
        _ASKED.reset(token)
