"""A small pipeline: 141 records of 3 classes in 12 dimensions, learnt by heart."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Fit, Recipe
from expunge.method import Method

TASK = Classification()


def drawn(n, seed):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=generator)
    x = torch.randn(n, 12, generator=generator) + 2 * nn.functional.one_hot(y, 12)
    return TensorDataset(x, y)


def build():
    return nn.Sequential(nn.Linear(12, 29), nn.ReLU(), nn.Linear(29, 3))


@dataclass(frozen=True)
class Idle(Method):
    """Forgets nothing."""

    def forget(self, model, case):
        del case
        return model


@dataclass(frozen=True)
class Watching(Method):
    """Forgets nothing, and writes down which samples it could see."""

    seen: tuple = ()

    def forget(self, model, case):
        for batches in (case.forget, case.retain):
            for x, y in batches:
                seen.append((x, y))
        return model


seen = []


@pytest.fixture(scope="session")
def data():
    return drawn(141, 0)


@pytest.fixture(scope="session")
def recipe():
    return Recipe(build, Fit(epochs=60, lr=0.1, batch=23, weight_decay=0.0), "by heart")


@pytest.fixture(scope="session")
def task():
    return TASK


@pytest.fixture(scope="session")
def idle():
    return Idle()


@pytest.fixture
def watching():
    seen.clear()
    return Watching(), seen


@pytest.fixture(scope="session")
def draw():
    return partial(drawn)
