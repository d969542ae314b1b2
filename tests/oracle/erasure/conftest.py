"""Features that tell a group by their means, what is counted of them, and what a probe pays."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from expunge.algebra.erasure import Moments, columns, erase, project

N, D, K, C = 900, 7, 3, 2  # samples, features, groups, classes


@pytest.fixture
def world():
    """Features that tell a group by their means, and a class that goes with the group."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(K, (N,), generator=generator)
    y = ((z + torch.randint(4, (N,), generator=generator)) > 2).long()
    mixing = torch.randn(D, D, generator=generator).double()
    means = torch.randn(C, K, D, generator=generator).double()
    x = torch.randn(N, D, generator=generator).double() @ mixing + 2 * means[y, z] + 5
    return x, z, y


@pytest.fixture(params=[erase, project])
def way(request):
    """Each way to erase."""
    return request.param


@pytest.fixture(scope="session")
def counted():
    """What one pass over the samples counts, of each class by itself if there are any."""

    def count(x, z, y=None, groups=K):
        moments = Moments(1 if y is None else C)
        moments.add(x, columns(z, groups), torch.zeros_like(z) if y is None else y)
        return moments

    return count


@pytest.fixture(scope="session")
def covariance():
    """Of every feature with every column of an attribute."""
    return lambda x, z: (x - x.mean(0)).T @ (z - z.mean(0)) / len(x)


@pytest.fixture(scope="session")
def logistic():
    """What a probe pays that scales what it reads, and the largest of its weights."""

    def paid(x, z, strength=1e6):
        apart = x.double() - x.double().mean(0)
        scale = apart.std(0)
        rows = (apart / scale.where(scale > 1e-15 * x.abs().amax(0), 1.0)).numpy()
        fitted = LogisticRegression(C=strength, tol=1e-10, max_iter=5000).fit(rows, z.numpy())
        told = torch.from_numpy(fitted.predict_log_proba(rows))
        return F.nll_loss(told, z).item(), abs(fitted.coef_).max()

    return paid
