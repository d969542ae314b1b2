"""A clock that only work moves, and work that says how long it takes."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Fit, Recipe, Request, Samples, split


@dataclass
class Clock:
    """Seconds that pass only where somebody lets them."""

    now: float = 0.0
    batches: int = 0
    trained: list = field(default_factory=list)

    def batch(self, batch):
        """Three slow batches, as at the start of a process; then all take as long."""
        self.batches += 1
        self.now += 1.0 if self.batches <= 3 else 0.01
        return batch

    def fit(self, model, dataset):
        """A loop of somebody else's: half a second, and two milliseconds a sample."""
        self.trained.append(len(dataset))
        self.now += 0.5 + 0.002 * len(dataset)
        return model


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("expunge.pacing.time.perf_counter", lambda: made.now)
    return made


def build():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


@pytest.fixture(scope="session")
def parts():
    def data(n, seed):
        x = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
        return TensorDataset(x, torch.arange(n) % 3)

    request = Request(Samples(tuple(range(0, 240, 8))), id="thirty")
    return split(data(240, 0), request, test=data(90, 1))


@pytest.fixture
def foreign(clock):
    """A recipe whose loop is not ours."""
    return Recipe(build, clock.fit, "foreign")


@pytest.fixture(scope="session")
def ours():
    return Recipe(build, Fit(epochs=1, batch=31), "ours")


@pytest.fixture(scope="session")
def task():
    return Classification()
