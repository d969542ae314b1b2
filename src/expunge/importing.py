"""Which files of the user's own a piece of code imports, as it is written; nothing is run.

Imports count wherever they stand, inside functions too, and so do those of the files that are
found. Of the standard library and of installed packages none does. What is imported by a name that
is only made at run time is not seen.
"""

import dis
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

_INSTALLED = (Path(__file__).parent, *(Path(sysconfig.get_path(k)) for k in ("stdlib", "purelib")))
_SHELVES = {"site-packages", "dist-packages"}  # one of the user, or of the system, is no other


class _File(NamedTuple):
    """A module that was not run for this."""

    path: Path | None  # None: a package without a file of its own
    within: list[str] | None  # where what it holds is looked for; None: it is no package


def own(path: str | Path) -> bool:
    """Whether a file is the user's own: not of Python, of expunge, or of an installed package."""
    found = Path(path)
    installed = any(found.is_relative_to(place) for place in _INSTALLED)
    return not installed and _SHELVES.isdisjoint(found.parts)


def text_of(path: str | Path) -> str:
    """What stands in a file, be it written in another language."""
    return Path(path).read_text("utf-8", errors="backslashreplace")


def imported(code: CodeType | str, package: str) -> dict[str, str]:
    """Names and texts of the user's own files that a piece of code imports, and those import.

    Args:
        code: A function's code, or a file's text.
        package: What holds it, for imports that begin with a dot; empty: nothing does.
    """
    texts: dict[str, str] = {}
    seen: set[str] = set()
    ahead = [*_names(code, package)]
    while ahead:
        name = ahead.pop()
        file = None if name in seen else _file(name)
        seen.add(name)
        if file is None or file.path is None or not own(file.path) or not file.path.is_file():
            continue
        texts[name] = text_of(file.path)
        ahead += _names(texts[name], name.rpartition(".")[0] if file.within is None else name)
    return texts


def _names(code: CodeType | str, package: str) -> Iterator[str]:
    """Every module that could be meant by an import, and all packages around it."""
    if isinstance(code, str):
        try:
            code = compile(code, "", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):  # half written, or in another language
            return
    for level, taken, name in _imports(code):
        try:
            whole = resolve_name("." * level + name, package)
        except ImportError:  # of something above the topmost package
            continue
        parts = whole.split(".")
        yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
        yield from (f"{whole}.{each}" for each in taken or ())


def _imports(code: CodeType) -> Iterator[tuple[int, tuple[str, ...] | None, str]]:
    """How many dots an import begins with, what it takes out of the module, and its name."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for level, taken, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opname == "IMPORT_NAME":
            yield level.argval, taken.argval, step.argval
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _imports(each)


def _file(name: str, modules: Mapping[str, Any] = sys.modules) -> _File | None:
    """Where a module stands; None if there is none. A package is looked into, and never run."""
    if (module := modules.get(name)) is not None:
        path, within = getattr(module, "__file__", None), getattr(module, "__path__", None)
        return _File(Path(path) if path else None, None if within is None else [*within])
    above = name.rpartition(".")[0]
    if not above:
        return _told(find_spec(name))
    around = _file(above)
    if around is None or around.within is None:
        return None
    return _told(PathFinder.find_spec(name, around.within))


def _told(spec: ModuleSpec | None) -> _File | None:
    if spec is None:
        return None
    places = spec.submodule_search_locations
    path = Path(spec.origin) if spec.origin and spec.has_location else None
    return _File(path, None if places is None else [*places])
