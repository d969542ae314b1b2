"""A small audit for every kind of task."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Fit, Recipe, Request, Samples, split, tiers
from expunge.auditing import audit
from expunge.methods.finetune import Finetune
from expunge.metrics.attribution import Attribution
from expunge.metrics.relearning import Relearning
from expunge.retraining import retrain
from expunge.tasks import Classification, MultiLabel, Regression
from expunge.unlearning import seeded, unlearn

TASKS = {"classification": Classification(), "multilabel": MultiLabel(), "regression": Regression()}


GONE = (11, 13, 17, 19, 23, 29)


def data(kind, n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator)
    match kind:
        case "classification":
            return TensorDataset(x, torch.arange(n) % 3)
        case "multilabel":
            return TensorDataset(x, (x[:, :3] > 0).float())
        case _:
            return TensorDataset(x, x[:, :3] @ torch.ones(3, 3))


def build():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Case:
    """A model, its outcome and its references, for one kind of task."""

    data = staticmethod(data)

    def __init__(self, kind, target=None):
        self.task = TASKS[kind]
        self.split = split(
            data(kind, 60, 0), Request(target or Samples(GONE), id="r1"), test=data(kind, 37, 1)
        )
        self.recipe = Recipe(build, Fit(epochs=3, batch=17, task=self.task))
        with seeded(0):
            self.model = self.recipe.train(self.split.retain.source)
        method = Finetune(epochs=1)
        self.outcome = unlearn(self.model, self.split, method, task=self.task)
        self.references = retrain(self.split, self.recipe, task=self.task, seeds=3)

    def evidence(self, metrics=None, **given):
        return audit(self.outcome, metrics, references=self.references, **given)


def lighten(patch):
    patch.setattr(tiers, "Attribution", partial(Attribution, steps=2))
    patch.setattr(tiers, "Relearning", partial(Relearning, steps=4, runs=2))


@pytest.fixture(autouse=True)
def _light(monkeypatch):
    """Attributions and lessons that are quick: what they find is tested elsewhere."""
    lighten(monkeypatch)


@pytest.fixture(scope="session")
def make():
    return Case


@pytest.fixture(scope="session")
def case():
    return Case("classification")


@pytest.fixture(scope="session", params=["multilabel", "regression"])
def other(request):
    return Case(request.param)


@pytest.fixture(scope="session")
def evidence(case):
    with pytest.MonkeyPatch.context() as patch:
        lighten(patch)
        return case.evidence()
