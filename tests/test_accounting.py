"""Another recipe is never taken for this one: whatever it hangs on is told."""

import importlib
import linecache
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from expunge import Classification, Fit, Recipe
from expunge.accounting import accounted, as_json

RATE = 0.1


class Plain:
    """Holds a number, and says nothing of it."""

    def __init__(self, rate):
        self.rate = rate


class Trainer(Plain):
    def fit(self, model, _data):
        return model

    __call__ = fit


class Scale(nn.Module):
    """A transform: no tensors, one number."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, batch):
        return batch


def named(model, _data, *, rate):
    return (model, rate)[0]


def closed(config):
    def fit(model, _data):
        return (model, config)[0]

    return fit


def defaulted(rate):
    def fit(model, _data, *, rate=rate):
        return (model, rate)[0]

    return fit


def net(act):
    return nn.Sequential(nn.Linear(2, 2), act)


MADE = {
    "an object that is called": Trainer,
    "a method of an object": lambda rate: Trainer(rate).fit,
    "an object inside another": lambda rate: Trainer(Plain(rate)),
    "a closure over an object": lambda rate: closed(Plain(rate)),
    "an array beyond what is printed": lambda rate: closed(
        np.full(5000, 1.0) * [*[1] * 4999, rate]
    ),
    "a default of a named argument": defaulted,
    "a partial": lambda rate: partial(named, rate=Plain(rate)),
    "a module without tensors": lambda rate: Fit(augment=Scale(rate)),
    "modules in a row": lambda rate: Fit(augment=nn.Sequential(Scale(rate))),
    "a method that augments": lambda rate: Fit(augment=Trainer(rate).fit),
    "what objects in a list hold": lambda rate: Fit(augment=Trainer([Plain(rate)])),
}


def told(fit, build=nn.Identity):
    return Recipe(build, fit).describe()


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_a_recipe_hangs_on_is_told(make):
    assert told(make(0.1)) == told(make(0.1))
    assert told(make(0.1)) != told(make(0.2))


def test_layers_that_a_network_is_given_are_told_though_they_hold_no_tensor():
    built = [partial(net, act) for act in (nn.ReLU(), nn.Tanh(), nn.Dropout(0.1), nn.Dropout(0.9))]
    assert len({told(Fit(), build)["build"] for build in built}) == 4


def test_two_functions_on_one_line_are_two():
    one, other = lambda *given: (1, given), lambda *given: (2, given)
    assert told(one) != told(other)


def rated(model, _data):
    return (model, RATE)[0]


def test_a_number_that_a_name_stands_for_now_is_told(monkeypatch):
    before = told(rated)
    monkeypatch.setitem(rated.__globals__, "RATE", 0.2)
    assert told(rated) != before


def test_what_holds_itself_is_told_once():
    ring = Plain(0.1)
    ring.rate = [ring]
    assert as_json(ring) == ["Plain", {"rate": ["Plain"]}]


MODULES = {
    "config": "RATE = 0.1\n",
    "helping": "import config\ndef scaled(x):\n    return x * config.RATE\n",
    "training": "from helping import scaled\ndef fit(model, data):\n    return scaled(model)\n"
    "def inputs(batch):\n    return scaled(batch[0])\n",
}


TELLING = """
import torch
from training import fit, inputs
from expunge import Classification, Fit, Recipe
from expunge.accounting import accounted
print(Recipe(torch.nn.Identity, fit).describe())
print(Recipe(torch.nn.Identity, Fit(augment=inputs)).describe())
print(accounted(Classification(attributes={"a": inputs})))
"""


def test_a_file_that_a_file_imports_is_told_and_another_process_tells_the_same(tmp_path):
    def everything():
        return subprocess.run(
            [sys.executable, "-Bc", TELLING],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout.splitlines()  # fmt: skip

    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    first = everything()
    assert everything() == first
    (tmp_path / "config.py").write_text("RATE = 0.2\n")
    assert [a == b for a, b in zip(first, everything(), strict=True)] == [False] * 3


LEANING = {
    "a file that a used file imports": {
        "fitting": "import training\ndef fit(m, d):\n    return training.run(m, d)\n",
        "training": "from config import RATE\ndef run(m, d):\n    return m, RATE\n",
    },
    "an import inside a function": {
        "fitting": "def fit(m, d):\n    from config import RATE\n    return m, RATE\n",
    },
    "an import inside a function of a used file": {
        "fitting": "import training\ndef fit(m, d):\n    return training.run(m, d)\n",
        "training": "def run(m, d):\n    import config\n    return m, config.RATE\n",
    },
    "files that import each other": {
        "fitting": "import one\ndef fit(m, d):\n    return one.run(m, d)\n",
        "one": "import two\ndef run(m, d):\n    return two.run(m)\n",
        "two": "import one\nimport config\ndef run(m):\n    return m, config.RATE\n",
    },
    "a file of a package, with dots": {
        "fitting": "import deep.loop\ndef fit(m, d):\n    return deep.loop.run(m, d)\n",
        "deep/__init__": "",
        "deep/loop": "from . import rates\ndef run(m, d):\n    return rates.of(m)\n",
        "deep/rates": "from . import loop\nfrom config import RATE\n"
        "def of(m):\n    return m, RATE\n",
    },
    "a file of a package that nobody imported yet": {
        "fitting": "def fit(m, d):\n    from deep import rates\n    return m, rates.of(m)\n",
        "deep/__init__": "",
        "deep/rates": "import config as c\ndef of(m):\n    return m, c.RATE\n",
    },
    "a static method of a class": {
        "fitting": "import config\nclass Loop:\n    @staticmethod\n    def run(m):\n"
        "        return m, config.RATE\ndef fit(m, d):\n    return Loop.run(m)\n",
    },
    "a default of a named argument": {
        "fitting": "from training import run\ndef fit(m, d, *, run=run):\n    return run(m)\n",
        "training": "import config\ndef run(m):\n    return m, config.RATE\n",
    },
}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What a function in a folder is, asked afresh: as if by another process."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def ask(*, after=()):
        importlib.invalidate_caches()
        linecache.clearcache()
        there = set(sys.modules)
        for name in after:
            importlib.import_module(name)
        told = accounted(importlib.import_module("fitting").fit)
        for name in set(sys.modules) - there:
            del sys.modules[name]
        return told

    return ask


@pytest.mark.parametrize("files", LEANING.values(), ids=LEANING)
def test_whatever_file_a_function_leans_on_is_told(files, tmp_path, asked):
    for name, text in ({"config": "RATE = 0.1\n"} | files).items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    first = asked()
    (tmp_path / "unused.py").write_text("import config\n")
    assert asked(after=["unused"]) == first  # what happens to be imported already does not matter
    (tmp_path / "config.py").write_text("RATE = 0.2\n")
    assert asked() != first


def test_a_number_that_is_set_in_another_file_by_hand_is_told(tmp_path, asked):
    (tmp_path / "config.py").write_text("RATE = 0.1\n")
    (tmp_path / "fitting.py").write_text(
        "import config\ndef fit(m, d):\n    return m, config.RATE\n"
    )
    (tmp_path / "by_hand.py").write_text("import config\nconfig.RATE = 0.2\n")
    assert asked() == asked() != asked(after=["by_hand"])


SCALE = Scale(0.1)


def scaled(model, _data):
    return SCALE(model)


def test_what_an_object_holds_that_a_name_stands_for_is_told(monkeypatch):
    before = told(scaled)
    monkeypatch.setattr(SCALE, "by", 0.2)
    assert told(scaled) != before


def test_what_is_installed_is_told_by_its_name_alone():
    assert accounted(Classification()) == as_json(Classification())
    assert accounted(partial(torch.mean, dim=1)) == as_json(partial(torch.mean, dim=1))
