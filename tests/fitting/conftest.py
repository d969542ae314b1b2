"""A small network, a few ways to train it, and what it takes to be interrupted."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge.fitting import Fit
from expunge.unlearning import seeded


def data(n=37, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 5, generator=generator), torch.arange(n) % 3)


def network(width=7, seed=1, *, normalised=False):
    with seeded(seed):
        middle = [nn.BatchNorm1d(width)] if normalised else []
        return nn.Sequential(nn.Linear(5, width), *middle, nn.ReLU(), nn.Linear(width, 3))


def trained(fit, *, seed=0, model=None, dataset=None):
    with seeded(seed):
        return fit(network() if model is None else model, data() if dataset is None else dataset)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def noisy(batch):
    x, y = batch
    return x + 0.3 * torch.randn_like(x), y


class Stopped(Exception):
    """The power went out."""


def stopping(after):
    def hear(_step, done, _total):
        if done == after:
            raise Stopped

    return hear


def interrupted(fit, *, after, **given):
    """Train until the power goes out after so many epochs."""
    with pytest.raises(Stopped):
        trained(replace(fit, progress=stopping(after)), **given)


FITS = {
    "sgd": Fit(epochs=5, lr=0.1, batch=11),
    "adamw": Fit(epochs=5, lr=0.01, batch=11, optimizer="adamw", schedule="onecycle"),
    "augmented": Fit(epochs=5, lr=0.1, batch=11, augment=noisy),
}


class Bench:
    """What tests about training share."""

    FITS, Stopped = FITS, Stopped
    data, network, noisy = staticmethod(data), staticmethod(network), staticmethod(noisy)
    trained, same = staticmethod(trained), staticmethod(same)
    stopping, interrupted = staticmethod(stopping), staticmethod(interrupted)


@pytest.fixture
def bench():
    return Bench


@pytest.fixture(params=FITS)
def fit(request):
    """Every way to train."""
    return FITS[request.param]
