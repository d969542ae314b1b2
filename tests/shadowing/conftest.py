"""A small problem, its outcome, and a recipe that counts how often it trains."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Fit, Outcome, Recipe, Request, Samples, split
from expunge.method import Method

N, M, D, C = 61, 40, 5, 3
GONE = (2, 3, 5, 7, 11, 13)
TASK = Classification()


def data(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, D, generator=generator), torch.arange(n) % C)


def build():
    return nn.Sequential(nn.Linear(D, 7), nn.ReLU(), nn.Linear(7, C))


class PowerCut(Exception):
    """The lights went out."""


@dataclass
class Counting:
    """Counts the samples of every training run, and may be cut off."""

    seen: list = field(default_factory=list)
    most: int = 1000

    def __call__(self, model, dataset):
        if len(self.seen) == self.most:
            raise PowerCut
        self.seen.append(dataset.indices.tolist())
        return Fit(epochs=2, batch=16)(model, dataset)

    def describe(self):
        return {"counting": True}


@dataclass(frozen=True)
class Drop(Method):
    """Moves the last bias by what it is told, and remembers whom it forgot."""

    by: float = 1.0

    def forget(self, model, case):
        FORGOTTEN.append((case.forget.part, case.retain.part, case.targets))
        with torch.no_grad():
            model[-1].bias += self.by
        return model


FORGOTTEN = []


@dataclass(frozen=True)
class World:
    """All that tests of shadow models need."""

    train: TensorDataset
    test: TensorDataset
    fit: Counting

    @property
    def recipe(self):
        return Recipe(build, self.fit, "counting")

    def outcome(self, *requests, method=None, test=None):
        requests = requests or (Request(Samples(GONE)),)
        parts = split(self.train, *requests, test=self.test if test is None else test)
        return Outcome(build(), build(), parts, TASK, method)

    drop = Drop
    forgotten = FORGOTTEN
    cut = PowerCut
    task = TASK
    gone = GONE
    sizes = (N, M, C)


@pytest.fixture
def world():
    FORGOTTEN.clear()
    return World(data(N, 0), data(M, 1), Counting())
