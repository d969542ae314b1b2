"""Names to classes: the file system is the registry.

A plug-in folder holds one public class a file. Listing reads docstrings and imports nothing;
finding imports one file. ``"package.module:Class"`` names a class that lives elsewhere.
"""

import ast
from dataclasses import MISSING, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from expunge.errors import BadSetting, UnknownName

Folder = Literal["methods", "attacks", "metrics"]


def names(folder: Folder) -> list[str]:
    """Names of all plug-ins of one kind that come with expunge."""
    return sorted(p.stem for p in _path(folder).glob("*.py") if not p.stem.startswith("_"))


def find(folder: Folder, name: str) -> type[Any]:
    """The plug-in with this name, or at this address."""
    if ":" in name:
        return _elsewhere(name)
    if name not in names(folder):
        raise UnknownName(folder.removesuffix("s"), name, names(folder))
    module = import_module(f"expunge.{folder}.{name}")
    found: type[Any] = getattr(module, _public_class(folder, name).name)
    return found


def default_attack() -> Any:
    """The attack of a metric that was asked for by name alone."""
    return find("attacks", "threshold")()


def summary(folder: Folder, name: str) -> str:
    """The sentence of a plug-in's class, read without importing it."""
    return (ast.get_docstring(_public_class(folder, name)) or "").split("\n")[0]


def about(folder: Folder, name: str) -> str:
    """The docstring of a plug-in's file, read without importing it."""
    return ast.get_docstring(_tree(folder, name)) or ""


def settings(plugin: type[Any]) -> dict[str, Any]:
    """Every setting of a plug-in and its default; ``...`` where it has none."""
    found = {}
    for item in fields(plugin):
        default = ... if item.default is MISSING else item.default
        found[item.name] = default if item.default_factory is MISSING else item.default_factory()
    return found


def _elsewhere(address: str) -> type[Any]:
    module, _, attribute = address.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as why:
        raise BadSetting(
            f"{address} cannot be imported: {why}",
            hint="write package.module:Class, as Python imports it beside expunge.toml.",
        ) from why
    if not isinstance(found, type):
        raise BadSetting(f"{address} is a {type(found).__name__}, not a class")
    return found


def _path(folder: Folder) -> Path:
    spec = find_spec("expunge")
    if spec is None or not spec.submodule_search_locations:
        raise UnknownName("package", "expunge", [])
    return Path(spec.submodule_search_locations[0]) / folder


def _tree(folder: Folder, name: str) -> ast.Module:
    return ast.parse((_path(folder) / f"{name}.py").read_text(encoding="utf-8"))


def _public_class(folder: Folder, name: str) -> ast.ClassDef:
    """The one class that the file shows."""
    public = [
        node
        for node in _tree(folder, name).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    if len(public) != 1:
        raise BadSetting(f"{folder}/{name}.py must show one public class, not {len(public)}")
    return public[0]
