"""Two small networks, loops that train them, and the histories that those leave."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from expunge import record
from expunge.history import History
from expunge.unlearning import seeded


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "history"


class Loop:
    """A loop as a user writes it: four steps an epoch over 29 samples."""

    def __init__(self, folder):
        self.folder = folder
        generator = torch.Generator().manual_seed(2)
        self.data = TensorDataset(torch.randn(29, 5, generator=generator), torch.arange(29) % 3)

    def network(self, *, normalised=False):
        with seeded(1):
            middle = [nn.BatchNorm1d(7)] if normalised else []
            return nn.Sequential(nn.Linear(5, 7), *middle, nn.ReLU(), nn.Linear(7, 3))

    def loader(self, **given):
        return DataLoader(self.data, **({"batch_size": 8} | given))

    def descend(self, model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    def train(self, model, optimizer, *, tape=None, epochs=3, schedule=None):
        batches = self.loader(shuffle=True)
        torch.manual_seed(4)
        for _ in range(epochs):
            for batch in batches if tape is None else tape.watch(batches):
                self.descend(model, optimizer, batch)
                if schedule is not None:
                    schedule.step()

    def recorded(self, model=None, optimizer=None, *, epochs=3, **given):
        """A run, and what it left."""
        model = self.network() if model is None else model
        optimizer = SGD(model.parameters(), lr=0.1) if optimizer is None else optimizer
        with record(model, optimizer, **({"to": self.folder} | given)) as tape:
            self.train(model, optimizer, tape=tape, epochs=epochs)
        return History.open(given.get("to", self.folder))

    def same(self, a, b):
        a, b = a.state_dict(), b.state_dict()
        return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def loop(folder):
    return Loop(folder)


class Run:
    """Eight steps over 23 samples in an order that never changes, with gradients."""

    size, rate = 23, 0.2
    order = torch.randperm(23, generator=torch.Generator().manual_seed(3)).tolist()
    batches = (order[:6], order[6:12], order[12:18], order[18:]) * 2
    gone = (batches[2][0], batches[2][3], batches[3][1])  # first seen by step 2

    def __init__(self, place):
        self._place, self._made = place, {}

    def data(self, strange=()):
        """A dataset; strange samples are other people."""
        generator = torch.Generator().manual_seed(2)
        x, y = torch.randn(23, 5, generator=generator), torch.arange(23) % 3
        for sample in strange:
            x[sample] = 7 + torch.rand(5, generator=generator)
            y[sample] = (y[sample] + 1) % 3
        return TensorDataset(x, y)

    def network(self):
        with seeded(1):
            return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

    def optimizer(self, model):
        return SGD(model.parameters(), lr=self.rate, momentum=0.5)

    def record(self, to, *, strange=(), steps=8, keep=4):
        model = self.network()
        optimizer = self.optimizer(model)
        loader = DataLoader(self.data(strange), batch_sampler=self.batches[:steps])
        with record(model, optimizer, to=to, keep=keep, gradients="fp32") as tape:
            for x, y in tape.watch(loader):
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()

    def left(self, to, **given):
        """A history of its own in a folder; each kind is recorded but once."""
        key = tuple(given.items())
        if key not in self._made:
            self._made[key] = self._place / str(len(self._made))
            self.record(self._made[key], **given)
        return Path(shutil.copytree(self._made[key], to))


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("runs"))


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def contents():
    """Every file of a folder, byte by byte."""
    return _contents
