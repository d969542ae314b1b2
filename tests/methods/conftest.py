"""One trained network on the digits, for every baseline."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, split
from expunge.batching import Batches
from expunge.fitting import Fit
from expunge.method import Case
from expunge.observing import Snapshot, snapshot
from expunge.problems.digits import digits
from expunge.problems.problem import Problem
from expunge.splitting import Split
from expunge.unlearning import seeded, unlearn


@dataclass(frozen=True)
class Digits:
    """The network that knows all ten digits, and the request to forget the three."""

    problem: Problem
    original: nn.Module
    split: Split
    before: Snapshot

    def unlearned(self, method, **given):
        """The outcome of a method, and what its model says."""
        outcome = unlearn(self.original, self.split, method, task=self.problem.task, **given)
        return outcome, snapshot(outcome.after, self.split, self.problem.task)


@pytest.fixture(scope="session")
def threes():
    problem = digits()
    original = problem.trained()
    parts = split(problem.train, Request(Classes((3,))), test=problem.test)
    return Digits(problem, original, parts, snapshot(original, parts, problem.task))


class Blobs:
    """Three clouds in the plane, at 0, 120 and 240 degrees, and a network that tells them."""

    def __init__(self, *, classes=3, seed=0, normalised=False):
        generator = torch.Generator().manual_seed(seed)
        angle = torch.arange(classes) * 2 * torch.pi / classes
        centres = 3 * torch.stack([angle.cos(), angle.sin()], 1)
        y = torch.arange(450 * classes) % classes
        x = centres[y] + torch.randn(len(y), 2, generator=generator) * 0.5
        self.train = TensorDataset(x[: 200 * classes], y[: 200 * classes])
        self.test = TensorDataset(
            x[200 * classes : 250 * classes], y[200 * classes : 250 * classes]
        )
        self.validation = TensorDataset(x[250 * classes :], y[250 * classes :])
        with seeded(seed):
            middle = [nn.BatchNorm1d(16)] if normalised else []
            self.model = nn.Sequential(nn.Linear(2, 16), *middle, nn.ReLU(), nn.Linear(16, classes))
            Fit(epochs=4, lr=0.1, batch=50)(self.model, self.train)

    def split(self, *targets, validation=True):
        requests = [Request(target) for target in targets]
        aside = self.validation if validation else None
        return split(self.train, *requests, test=self.test, validation=aside)

    def case(self, parts):
        aside = None if parts.validation is None else Batches(parts.validation)
        return Case(
            parts.targets, Batches(parts.forget), Batches(parts.retain), aside, Classification()
        )


@pytest.fixture(scope="session")
def make_blobs():
    """More clouds, for whoever must change them."""
    return Blobs


@pytest.fixture(scope="module")
def blobs():
    """Three clouds and their network, to be looked at and left as they are."""
    return Blobs()
