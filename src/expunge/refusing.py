"""Refuse settings that cannot be, before anything is done by them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from math import isfinite
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from expunge.errors import BadSetting, UnknownName

_NUMBERS: dict[Any, type] = {int: Integral, float: Real}
"""What passes for a number: those of NumPy too, and never a yes or no."""
_MODULES = re.compile(r"[a-z]+\.(?=[A-Za-z])")  # in what a type calls itself


def refuse_misfits(settings: Any) -> None:
    """Refuse a word that a field does not know, and a value of another kind than it has."""
    owner = type(settings).__name__
    for item in fields(settings):
        value, words = getattr(settings, item.name), _words(item.type)
        if isinstance(value, str) and words and value not in words:
            raise UnknownName(f"{item.name} of {owner}", value, words)
        if not _fits(value, item.type):
            kind = item.type if get_args(item.type) else getattr(item.type, "__name__", "")
            raise BadSetting(
                f"{item.name} of {owner} cannot be {value!r}",
                hint=f"it is of the type {_MODULES.sub('', str(kind))}.",
            )


def refuse_below(settings: Any, least: float, *names: str) -> None:
    """Refuse numbers that are below the least, and those that are none or have no end."""
    for name in names:
        value = getattr(settings, name)
        if not (isfinite(value) and value >= least):
            raise BadSetting(
                f"{name} of {type(settings).__name__} cannot be {value!r}",
                hint=f"it is a number, at least {least:g}.",
            )


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as far as a plain look tells."""
    home, inside = get_origin(kind), get_args(kind)
    if home is Literal:
        return value in inside
    if home in (Union, UnionType):
        return any(_fits(value, part) for part in inside)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    if home is Callable:
        return callable(value)
    if home is tuple:
        return isinstance(value, (tuple, list)) and _all_fit(value, inside)
    return not isinstance(kind, type) or home is not None or isinstance(value, kind)


def _all_fit(values: Sequence[Any], kinds: Sequence[Any]) -> bool:
    each = [kinds[0]] * len(values) if Ellipsis in kinds else kinds
    return len(each) == len(values) and all(map(_fits, values, each))


def _words(kind: Any) -> list[str]:
    """The words that a setting of this type knows; none where it takes any text."""
    if get_origin(kind) is Literal:
        return [word for word in get_args(kind) if isinstance(word, str)]
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    free = any(part is str for part in parts)
    return [] if free else [word for part in parts for word in _words(part)]
