"""The public surface: sorted, complete, and light to import."""

import ast
import subprocess
import sys
from importlib import import_module
from inspect import getdoc
from pathlib import Path

import pytest

import expunge
from expunge import catalogue


def test_the_public_names_are_sorted_complete_and_have_a_home():
    assert expunge.__all__ == sorted(expunge._HOMES)
    assert len(set(expunge.__all__)) == len(expunge.__all__)
    assert dir(expunge) == expunge.__all__


@pytest.mark.parametrize("name", expunge.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    found = getattr(expunge, name)
    assert found is getattr(import_module(f"expunge.{expunge._HOMES[name]}"), name)
    assert getdoc(found)


def test_names_for_type_checkers_are_the_names_for_everybody():
    tree = ast.parse(Path(expunge.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.name: node.module.removeprefix("expunge.")
        for node in block.body
        for alias in node.names
    }
    assert told == expunge._HOMES


def test_a_name_that_does_not_exist_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Unlearner'"):
        _ = expunge.Unlearner
    assert not hasattr(expunge, "Unlearner")


def loaded(code):
    """The heavy packages that a fresh interpreter has loaded after some code."""
    heavy = "('torch', 'numpy', 'scipy', 'sklearn', 'pydantic', 'altair', 'safetensors')"
    told = f"{code}\nimport sys\nprint(*(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


CATALOGUE = """
from expunge import catalogue
for kind in ("methods", "attacks", "metrics"):
    [catalogue.summary(kind, name) for name in catalogue.names(kind)]
"""


@pytest.mark.parametrize(
    "code",
    [
        "import expunge",
        "from expunge import Request, Samples; Request(Samples((1,)))",
        "from expunge import ExpungeError",
        CATALOGUE,
    ],
    ids=["expunge", "request", "errors", "catalogue"],
)
def test_nothing_heavy_is_imported_before_it_is_used(code):
    assert loaded(code) == set()


def test_the_core_needs_no_package_of_the_borders():
    code = "from expunge import *; import expunge; expunge.unlearn, expunge.audit, expunge.judge"
    assert not loaded(code.replace("from expunge import *; ", "")) & {
        "sklearn",
        "pydantic",
        "altair",
    }


FOLDERS = ("methods", "attacks", "metrics")


@pytest.mark.parametrize(("folder", "name"), [(f, n) for f in FOLDERS for n in catalogue.names(f)])
def test_every_plugin_file_shows_one_class_and_that_is_the_one_found(folder, name):
    module = import_module(f"expunge.{folder}.{name}")
    shown = [
        value
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and key[0] != "_"
    ]
    assert shown == [catalogue.find(folder, name)]
    assert shown[0].__name__.lower() == name.replace("_", "")


@pytest.mark.parametrize("folder", FOLDERS)
def test_plugin_folders_themselves_hold_nothing(folder):
    path = Path(expunge.__file__).parent / folder / "__init__.py"
    assert len(ast.parse(path.read_text(encoding="utf-8")).body) == 1
