"""A hat that inputs tell beside their class, networks that see both, and an erasure of the hat."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.methods.leace import Leace
from expunge.unlearning import seeded, unlearn

N, D, H, C, K = 230, 6, 12, 2, 3  # samples, inputs, features, classes, groups


class Twice(nn.Module):
    """Knows its head by two names."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(D, H), nn.Linear(H, C)
        self.also = self.head

    def forward(self, x):
        return self.also(self.body(x))


class Toy:
    """What is drawn, built, erased and looked at in every test of this folder."""

    twice = Twice

    @staticmethod
    def network():
        return nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, C))

    @staticmethod
    def nested():
        return nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Sequential(nn.Linear(H, C)))

    @staticmethod
    def lone():
        return nn.Linear(D, C)

    @staticmethod
    def drawn(seed=0):
        """Inputs that tell a group of three and, along other axes, a class of two."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randint(K, (N,), generator=generator)
        y = torch.randint(C, (N,), generator=generator)
        x = torch.randn(N, D, generator=generator)
        x[:, :K] += 2 * F.one_hot(z, K)
        x[:, D - 1] += 3 * y
        return x, y, z

    @staticmethod
    def reading(kind=Classification, **given):
        return kind(attributes={"hat": lambda batch: batch[2]}, **given)

    @staticmethod
    def built(model, *, seed=0):
        with seeded(seed):
            return model().eval()

    def erased(self, model, task=None, data=None, method=None):
        data = TensorDataset(*self.drawn()) if data is None else data
        parts = split(data, Request(Attribute("hat")), test=data)
        return unlearn(model, parts, method or Leace(), task=task or self.reading())

    def features(self, model, task, data=None):
        batch = self.drawn() if data is None else data
        with torch.no_grad():
            return task.answer(model, batch).embedding

    @staticmethod
    def told(x, z, flat=1e-4):
        """The share of an attribute that a line finds; directions of rounding are none."""
        x, z = x.double() - x.double().mean(0), z.double() - z.double().mean(0)
        axes, sizes, _ = torch.linalg.svd(x, full_matrices=False)
        axes = axes[:, sizes > flat * sizes[0]]
        return ((axes.T @ z).square().sum() / z.square().sum()).item()

    def told_inside(self, x, y, z, flat=1e-4):
        return max(self.told(x[y == k], F.one_hot(z[y == k], K), flat) for k in range(C))


@pytest.fixture(scope="session")
def toy():
    return Toy()
