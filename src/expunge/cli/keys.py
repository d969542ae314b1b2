"""The keys of expunge.toml: what they may be, and what is wrong with them."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from expunge.auditing import Tier
from expunge.errors import BadSetting, CannotRead, ExpungeError, UnknownName


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """The table ``[audit]``."""

    tier: Tier = "standard"
    seeds: int | tuple[int, ...] | None = None  # None: as many as the tier asks for
    metrics: tuple[str, ...] | None = None  # None: all that have a place


@dataclass(frozen=True, slots=True)
class FolderKeys:
    """The table ``[folders]``, from the folder of expunge.toml."""

    ledger: str = "ledger.db"
    runs: str = "runs"
    cache: str = "cache"


@dataclass(frozen=True, slots=True)
class Keys:
    """All of expunge.toml. It has as many fields as the file has keys; "" is a key left out."""

    name: str = ""
    model: str = ""
    weights: str = ""
    train: str = ""
    test: str = ""
    validation: str = ""
    task: str = ""
    fit: str = ""
    audit: AuditKeys = field(default_factory=AuditKeys)
    folders: FolderKeys = field(default_factory=FolderKeys)


ADDRESSES = ("model", "train", "test", "validation", "task", "fit")
"""The keys that name Python objects."""


def read(file: Path) -> Keys:
    """Read expunge.toml; a key that it cannot have is refused with the nearest one it can."""
    keys, faults = examined(file)
    if faults:
        raise faults[0]
    return keys


def examined(file: Path) -> tuple[Keys, list[ExpungeError]]:
    """Read what can be read of expunge.toml, and tell all that is wrong with the rest."""
    try:
        body = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as why:
        raise CannotRead(
            f"{file} does not exist", hint="run `expunge init`, or name it with --config."
        ) from why
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
        raise CannotRead(f"{file} is not readable as TOML: {why}") from why
    faults = [*_unknown(Keys, body, file.name)]
    return _checked(body, file, faults), faults


def _unknown(kind: type[Any], body: dict[str, Any], where: str) -> Iterator[ExpungeError]:
    """Every key that is not known; it is taken out."""
    hints = get_type_hints(kind)
    for key, value in [*body.items()]:
        if key not in hints:
            del body[key]
            yield UnknownName(f"key of {where}", key, hints)
        elif is_dataclass(hints[key]) and isinstance(value, dict):
            yield from _unknown(hints[key], value, f"[{key}] in {where}")


def _checked(body: dict[str, Any], file: Path, faults: list[ExpungeError]) -> Keys:
    """The keys by their types; one that does not fit becomes a fault and is left out."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - heavy, and at borders only

    try:
        return TypeAdapter(Keys).validate_python(body)
    except ValidationError as why:
        for error in why.errors():
            table, key = _without(body, error["loc"])
            fault = BadSetting(
                f"{file.name}: {'.'.join((*table, key))} is {error['input']!r}: "
                f"{error['msg'].lower()}",
                hint="`expunge init` in an empty folder writes a commented example.",
            )
            if str(fault) not in map(str, faults):
                faults.append(fault)
        return _checked(body, file, faults)


def _without(body: dict[str, Any], place: Sequence[int | str]) -> tuple[tuple[str, ...], str]:
    """Take a key out of a table, or of a table in it; say which."""
    first, second = str(place[0]), str(place[-1] if len(place) == 1 else place[1])
    inside = body.get(first)
    if len(place) > 1 and isinstance(inside, dict):
        inside.pop(second, None)
        return (first,), second
    body.pop(first, None)
    return (), first
