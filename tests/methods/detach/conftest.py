"""A label that goes with the group of an attribute, inputs that tell both, and short runs."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.algebra.families import linear, networks
from expunge.algebra.guessing import Asked, blind, price
from expunge.algebra.information import Prior
from expunge.methods.detach import Detach
from expunge.unlearning import seeded, unlearn

D, H, GROUPS = 9, 11, 3  # inputs, features, groups
PROBES = linear, partial(networks, width=64, copies=1)


@dataclass(frozen=True)
class People:
    """A label goes with the group of an attribute, and inputs tell both."""

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor

    @property
    def data(self):
        return TensorDataset(self.x, self.y, self.z)


class Toy:
    """What is drawn, built and detached in every test of this folder."""

    brief = {"epochs": 1, "batch": 40, "critics": 2, "critic_steps": 2}  # noqa: RUF012 - read only

    people = People

    @staticmethod
    def drawn(n=200, seed=0, noise=0.8):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randint(GROUPS, (n,), generator=generator)
        follows = torch.rand(n, generator=generator) < 0.5
        y = torch.where(follows, (z > 0).long(), torch.randint(2, (n,), generator=generator))
        x = noise * torch.randn(n, D, generator=generator)
        x[:, :GROUPS] += 2 * F.one_hot(z, GROUPS)
        x[:, 5] += 3 * y
        return People(x, y, z)

    @staticmethod
    def read(kind=Classification, **attributes):
        given = attributes or {"ink": lambda batch: batch[2]}
        return kind(attributes=given)

    @staticmethod
    def network(outputs=2, middle=()):
        with seeded(3):
            layers = nn.Linear(D, 13), *middle, nn.ReLU(), nn.Linear(13, H), nn.ReLU()
            return nn.Sequential(*layers, nn.Linear(H, outputs))

    def outcome(self, people=None, *, model=None, task=None, aside=None, **settings):
        parts = split(
            (people or self.drawn()).data,
            Request(Attribute("ink")),
            test=self.drawn(30, 7).data,
            validation=None if aside is None else aside.data,
        )
        how = Detach(**(self.brief | settings))
        return unlearn(model or self.network(), parts, how, task=task or self.read())

    @staticmethod
    def gained(x, z, y):
        """Bits that fresh probes gain beyond the class on a third of the samples.

        They learn from another third, and the last chooses between them.
        """
        ways = [torch.arange(len(z)) % 3 == k for k in range(3)]
        prior = Prior.of(z[ways[0]], y[ways[0]], groups=3, classes=2)
        learnt, aside, asked = (Asked.of(x[w], z[w], y[w], prior) for w in ways)
        guesses = [probe(learnt, aside) for probe in PROBES]
        best = min(guesses, key=lambda guess: price(guess, aside))
        return price(blind, asked) - price(best, asked)

    @staticmethod
    def weights(model):
        return torch.cat([p.detach().flatten().double() for p in model.parameters()])


@pytest.fixture(scope="session")
def toy():
    return Toy()
