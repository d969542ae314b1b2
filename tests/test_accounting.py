"""Another recipe is never taken for this one: whatever it hangs on is told."""

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


def test_what_is_installed_is_told_by_its_name_alone():
    assert accounted(Classification()) == as_json(Classification())
    assert accounted(partial(torch.mean, dim=1)) == as_json(partial(torch.mean, dim=1))
