"""Planted worlds: records of unequal difficulty, models that remember them a little, or do not."""

from dataclasses import dataclass

import pytest
import torch

from expunge.ensembles import Pool, Shadow, Shadows
from expunge.observing import Observation, Snapshot


def observation(ids, phi, labels=None):
    """Answers of a model of two classes, by the phi of every sample."""
    labels = torch.zeros(len(phi), dtype=torch.long) if labels is None else labels
    logits = torch.stack([phi, torch.zeros(len(phi))], 1)
    logits[labels == 1] = logits[labels == 1].flip(1)
    return Observation(ids, logits.double(), labels)


@dataclass
class Planted:
    """Records 0 to m - 1 of a training set, as many that were held out, and a population."""

    m: int = 300
    population: int = 150
    gap: float = 1.5  # what being trained on adds to phi
    left: float = 1.0  # the share of it that unlearning leaves
    shift: float = 0.0  # what unlearning does to everybody
    seed: int = 0

    def __post_init__(self):
        self.draw = torch.Generator().manual_seed(self.seed)
        self.size = 2 * self.m + self.population
        self.hard = 2 + 3 * self.normal(self.size)
        self.forget_ids = torch.randperm(5 * self.m, generator=self.draw)[: self.m]
        self.test_ids = torch.randperm(9 * self.size, generator=self.draw)[: self.size - self.m]

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.draw).double()

    def models(self, trained, left=1.0, shift=0.0):
        """Phi of every record under models that were trained with some of them."""
        return self.hard + left * self.gap * trained + shift + self.normal(*trained.shape)

    def shadows(self, pairs=4, *, retrained=0, method="planted", mirror=False):
        drawn = []
        for _ in range(pairs):
            half = torch.zeros(self.size, dtype=torch.bool)
            half[torch.randperm(2 * self.m, generator=self.draw)[: self.m]] = True
            other = ~half
            other[2 * self.m :] = False
            drawn += [half, other]
        held = torch.zeros(self.size, dtype=torch.bool)
        held[self.m : 2 * self.m] = True
        nobody = torch.zeros(self.size, dtype=torch.bool)
        labels = torch.zeros(self.size, dtype=torch.long)
        return Shadows(
            Pool(self.forget_ids, self.test_ids, labels, (2,)),
            tuple(self.shadow(half) for half in drawn),
            method,
            tuple(self.shadow(nobody, shift=0.0) for _ in range(retrained)),
            self.shadow(held) if mirror else None,
        )

    def shadow(self, trained, shift=None):
        shift = self.shift if shift is None else shift
        before = self.models(trained)
        after = self.models(trained, self.left, shift)
        likeliest = torch.nn.functional.logsigmoid(torch.stack([after.abs(), -after.abs()], 1))
        return Shadow(trained, after, before, likeliest.float(), 0, 1.0, "")

    def snapshot(self, left=None, shift=None):
        """The model under attack: the forget set was in, and this share of it is left."""
        left, shift = self.left if left is None else left, self.shift if shift is None else shift
        trained = torch.arange(self.size) < self.m
        phi = self.models(trained, left, shift)
        order = torch.randperm(self.size - self.m, generator=self.draw)  # any order will do
        test = observation(self.test_ids, phi[self.m :]).only(order)
        forget = observation(self.forget_ids, phi[: self.m])
        forget = forget.only(torch.randperm(self.m, generator=self.draw))
        return Snapshot(forget, test, test)


@pytest.fixture
def planted():
    return Planted


@pytest.fixture
def observed():
    return observation
