"""A small project, trained once, and a way to call the command line on it."""

import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from expunge import tiers
from expunge.__main__ import main
from expunge.metrics.attribution import Attribution
from expunge.metrics.relearning import Relearning
from expunge.storing import save_tensors

DATA = """
import torch
from torch.utils.data import TensorDataset

def _made(count, seed):
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    x = torch.randn(count, 7, generator=draw) + 2 * torch.nn.functional.one_hot(y, 7)
    return TensorDataset(x, y)

train = _made(60, 1)

def test():
    return _made(45, 2)
"""
MODEL = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(7, 11), nn.ReLU(), nn.Linear(11, 3))

def fit(model, dataset):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = (torch.stack(column) for column in zip(*(dataset[i] for i in range(len(dataset)))))
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model
"""
TOML = """
name = "toy"
model = "toy_model:build"
weights = "model.safetensors"
fit = "toy_model:fit"
train = "toy_data:train"
test = "toy_data:test"

[audit]
seeds = 2
"""

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1")


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def body(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    names: dict = {}
    exec(DATA, names)
    exec(MODEL, names)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: nn.Module = names["fit"](names["build"](), names["train"])
    save_tensors(folder / "model.safetensors", model.state_dict())
    (folder / "toy_data.py").write_text(DATA)
    (folder / "toy_model.py").write_text(MODEL)
    (folder / "expunge.toml").write_text(TOML)
    return folder


def lighten(patch):
    patch.setattr(tiers, "Attribution", partial(Attribution, steps=2))
    patch.setattr(tiers, "Relearning", partial(Relearning, steps=4, runs=2))


@pytest.fixture(autouse=True)
def _light(monkeypatch):
    """Attributions and lessons that are quick: what they find is tested elsewhere."""
    lighten(monkeypatch)


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """A copy of the project to work in; the modules that it brings are forgotten afterwards."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    path = [*sys.path]
    yield folder
    assert sys.path == path
    _forget_modules(folder)


@pytest.fixture(scope="session")
def finished(trained, tmp_path_factory):
    """The project after one request, carried out once for all tests."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(trained, folder)
    command = [*RUN, "--id", "r1", "--config", str(folder / "expunge.toml")]
    with pytest.MonkeyPatch.context() as patch:
        lighten(patch)
        with pytest.raises(SystemExit) as end:
            main(command)
    assert end.value.code in (None, 0, 1)
    _forget_modules(folder)
    return folder


@pytest.fixture
def ran(finished, project):
    """The folder of a request that was carried out in this project."""
    shutil.copytree(finished, project, dirs_exist_ok=True)
    return project / "runs" / "r1"


@pytest.fixture
def hasty(change):
    """For what does not hang on how much is measured: accuracies alone."""
    change("expunge.toml", "seeds = 2", 'seeds = 2\nmetrics = ["accuracy"]')


@pytest.fixture
def change(project):
    """Replace a piece of one of the project's files; the piece must be there."""

    def changed(name, old, new):
        path = project / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return changed


def _forget_modules(folder):
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(folder):
            del sys.modules[name]


@pytest.fixture
def expunge(capsys):
    """Call the command line in this process."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ended(end.value.code or 0, said.out, said.err)

    return call
