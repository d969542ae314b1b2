"""People whose inputs show a label and an attribute, which go together more often than not."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification
from expunge.algebra.families import linear, networks
from expunge.algebra.guessing import Asked, blind, price
from expunge.algebra.information import Prior
from expunge.batching import Batches
from expunge.method import Case
from expunge.splitting import Part
from expunge.unlearning import seeded

D, H = 7, 11  # inputs and features
PROBES = linear, partial(networks, width=64, copies=1)


@dataclass(frozen=True)
class People:
    """Inputs, labels, and the attribute of everybody."""

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor

    @property
    def data(self):
        return TensorDataset(self.x, self.y, self.z)

    @property
    def task(self):
        return Classification(attributes={"ink": lambda batch: batch[2]})

    def case(self, *names, validation=None, task=None, size=60):
        """All stay, and the attribute is to go."""
        part = Part.whole(self.data)
        nobody = Part(part.source, torch.zeros(0, dtype=torch.long))
        aside = None if validation is None else Batches(Part.whole(validation.data))
        targets = tuple(map(Attribute, names or ("ink",)))
        return Case(targets, Batches(nobody), Batches(part, size), aside, task or self.task)


def drawn(n=240, seed=0, groups=3, noise=0.6):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(groups, (n,), generator=generator)
    follows = torch.rand(n, generator=generator) < 0.7
    y = torch.where(follows, (z > 0).long(), torch.randint(2, (n,), generator=generator))
    ways = torch.randn(groups + 2, D, generator=torch.Generator().manual_seed(8))
    x = ways[z] + ways[groups + y] + noise * torch.randn(n, D, generator=generator)
    return People(x, y, z)


def gains(x, z, y):
    """Bits that fresh probes gain beyond the class on a third of the samples.

    They learn from another third, and the last chooses between them.
    """
    ways = [torch.arange(len(z)) % 3 == k for k in range(3)]
    prior = Prior.of(z[ways[0]], y[ways[0]], groups=3, classes=2)
    learnt, aside, asked = (Asked.of(x[w], z[w], y[w], prior) for w in ways)
    guesses = [probe(learnt, aside) for probe in PROBES]
    best = min(guesses, key=lambda guess: price(guess, aside))
    return price(blind, asked) - price(best, asked)


@pytest.fixture(scope="session")
def make_people():
    return drawn


@pytest.fixture(scope="session")
def gained():
    return gains


@pytest.fixture
def people():
    return drawn()


@pytest.fixture
def network():
    """Two hidden layers that know nothing yet."""
    with seeded(3):
        return nn.Sequential(
            nn.Linear(D, 13), nn.ReLU(), nn.Linear(13, H), nn.ReLU(), nn.Linear(H, 2)
        )
