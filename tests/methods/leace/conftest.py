"""A class that goes with the group of an attribute, inputs that tell both, and a run of LEACE."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.algebra.information import Prior
from expunge.methods.leace import Leace
from expunge.unlearning import seeded, unlearn

N, D, H, C, K = 310, 7, 13, 2, 3  # samples, inputs, features, classes, groups


class Toy:
    """What is drawn, erased and looked at in every test of this folder."""

    @staticmethod
    def drawn(seed=0):
        """A class goes with the group, and inputs tell both."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randint(K, (N,), generator=generator)
        y = ((z + torch.randint(4, (N,), generator=generator)) > 2).long()
        x = torch.randn(N, D, generator=generator).double()
        x[:, :K] += 2 * F.one_hot(z, K)
        x[:, D - 1] += 4 * y
        return x, y, z

    @staticmethod
    def network(width=H):
        with seeded(0):
            return nn.Sequential(nn.Linear(D, width), nn.Tanh(), nn.Linear(width, C)).double()

    @staticmethod
    def identity():
        """Features are the inputs themselves."""
        with seeded(0):
            return nn.Sequential(nn.Identity(), nn.Linear(D, C)).double()

    @staticmethod
    def task(**attributes):
        given = {name: lambda batch, at=at: batch[at] for name, at in attributes.items()}
        return Classification(attributes=given or {"hat": lambda batch: batch[2]})

    def outcome(self, *answers, labels=None, model=None, names=("hat",), data=None, **settings):
        x, y, z = self.drawn()
        told = answers or (z,)
        data = data or TensorDataset(x, y if labels is None else labels, *told)
        parts = split(data, *(Request(Attribute(name)) for name in names), test=data)
        reading = self.task(**{name: 2 + place for place, name in enumerate(names)})
        return unlearn(model or self.network(), parts, Leace(**settings), task=reading)

    def features(self, model, reading=None):
        with torch.no_grad():
            return (reading or self.task()).answer(model, self.drawn()).embedding

    @staticmethod
    def logistic(x, z):
        """What a probe pays that scales what it reads."""
        rows = ((x - x.mean(0)) / x.std(0)).numpy()
        fitted = LogisticRegression(C=1e2, tol=1e-10, max_iter=5000).fit(rows, z.numpy())
        return F.nll_loss(torch.from_numpy(fitted.predict_proba(rows)).log(), z.long()).item()

    @staticmethod
    def entropy(z):
        return Prior.of(z, z * 0, groups=K).entropy

    @staticmethod
    def covariance(x, z):
        return ((x - x.mean(0)).T @ (z - z.mean(0)) / len(x)).abs().max()


@pytest.fixture(scope="session")
def toy():
    return Toy()
