"""The user's own code: found by address, and named when it fails."""

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from expunge.errors import BadSetting, ExpungeError

FAULTS = (Exception, SystemExit)
"""What code that we did not write may raise: anything, and ``sys.exit`` too."""


def resolved(address: str) -> Any:
    """The object that ``"module:name"`` names."""
    module, colon, name = address.partition(":")
    if not colon or not module or not name:
        raise BadSetting(
            f"{address!r} is no address", hint='write "module:name", such as "data:train".'
        )
    return reduce(getattr, name.split("."), import_module(module))


@contextmanager
def at(folder: Path) -> Iterator[None]:
    """Lend the import path to the modules of a folder."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:
            sys.path.remove(place)


@contextmanager
def blaming(key: str, address: str, folder: Path) -> Iterator[None]:
    """Tell a fault in what an address names with its key, its file and its line."""
    try:
        yield
    except ExpungeError:
        raise
    except FAULTS as why:
        raise BadSetting(
            f'{key} = "{address}" {_place(why, folder)}: {_short(why)}',
            hint=_advice(why, address),
        ) from why


@contextmanager
def watched(folder: Path, addresses: Mapping[str, str]) -> Iterator[None]:
    """Tell a fault in the user's code later on, in a dataset or a forward pass, just as well."""
    try:
        yield
    except ExpungeError:
        raise
    except FAULTS as why:
        frame = _guest_frame(why, folder)
        if frame is None:
            raise
        stem = Path(frame.filename).stem
        keys = [f'{k} = "{a}"' for k, a in addresses.items() if a.partition(":")[0] == stem]
        named = f" (the file of {', '.join(keys)})" if keys else ""
        raise BadSetting(
            f"the project's own code{named} {_place(why, folder)}: {_short(why)}",
            hint="`expunge doctor` tries every part of the project by itself.",
        ) from why


def placed(why: BaseException, folder: Path) -> str:
    """A fault in one line, with the user's file and line where it is in one."""
    place = _place(why, folder)
    return f"{place}: {_short(why)}" if _guest_frame(why, folder) else _short(why)


def _place(why: BaseException, folder: Path) -> str:
    frame = _guest_frame(why, folder)
    if frame is None:
        return "cannot be used"
    name = Path(frame.filename).name
    inside = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"fails at {name}, line {frame.lineno}{inside}"


def _guest_frame(why: BaseException, folder: Path) -> traceback.FrameSummary | None:
    """The innermost place in the user's files; what is installed beside them is not theirs."""
    ours = str(Path(__file__).parent.parent)
    for frame in reversed(traceback.extract_tb(why.__traceback__)):
        theirs = Path(frame.filename).is_relative_to(folder.resolve())
        if theirs and "site-packages" not in frame.filename and ours not in frame.filename:
            return frame
    return None


def _short(why: BaseException) -> str:
    text = str(why).strip().split("\n")[0]
    if isinstance(why, SyntaxError) and why.filename:
        text = f"{why.msg} ({Path(why.filename).name}, line {why.lineno})"
    return f"{type(why).__name__}: {text}" if text else type(why).__name__


def _advice(why: BaseException, address: str) -> str:
    module, _, name = address.partition(":")
    if isinstance(why, ModuleNotFoundError) and why.name == module.partition(".")[0]:
        return f"there is no {module}.py beside expunge.toml, and no such package is installed."
    if isinstance(why, AttributeError) and why.name == name:
        return f"{module}.py defines no {name}; check the spelling."
    return "correct it, then run `expunge doctor` to see whether all is well."
