"""What other libraries compute, by code that nobody here wrote; left out where one is missing."""

import pytest
import torch

from expunge.algebra.erasure import Moments, columns, erase
from expunge.algebra.fairness import demographic_parity, equalised_odds

N, D, K = 600, 9, 3


def told_apart(seed, k=K):
    """Features that tell a group by their means."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(k, (N,), generator=generator)
    mixing = torch.randn(D, D, generator=generator).double()
    means = torch.randn(k, D, generator=generator).double()
    return torch.randn(N, D, generator=generator).double() @ mixing + 2 * means[z] + 5, z


def erased(x, z, k=K):
    moments = Moments()
    moments.add(x, columns(z, k), torch.zeros_like(z))
    return erase(moments)


@pytest.mark.parametrize("k", [2, K])
def test_an_erasure_is_that_of_concept_erasure(k):
    other = pytest.importorskip("concept_erasure")
    x, z = told_apart(0, k)
    fitter = other.LeaceFitter(D, k, dtype=torch.double, shrinkage=False, svd_tol=1e-10)
    theirs = fitter.update(x, columns(z, k)).eraser(x)
    ours = erased(x, z, k)(x)
    assert (ours - x).norm() > 0.05 * x.norm()
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


def test_an_erasure_of_samples_that_were_not_seen_is_that_of_concept_erasure():
    other = pytest.importorskip("concept_erasure")
    x, z = told_apart(1)
    half = N // 2
    fitter = other.LeaceFitter(D, K, dtype=torch.double, shrinkage=False, svd_tol=1e-10)
    theirs = fitter.update(x[:half], columns(z[:half], K)).eraser(x[half:])
    torch.testing.assert_close(erased(x[:half], z[:half])(x[half:]), theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("k", [2, K])
def test_gaps_of_two_classes_are_those_of_fairlearn(k):
    other = pytest.importorskip("fairlearn.metrics")
    generator = torch.Generator().manual_seed(2)
    z, y = (torch.randint(many, (N,), generator=generator) for many in (k, 2))
    predicted = (torch.rand(N, generator=generator) < 0.3 + 0.1 * z + 0.2 * y).long()
    given = y.numpy(), predicted.numpy()
    parity = other.demographic_parity_difference(*given, sensitive_features=z.numpy())
    odds = other.equalized_odds_difference(*given, sensitive_features=z.numpy())
    assert parity > 0.05
    assert demographic_parity(predicted, z, classes=2).interval.value == pytest.approx(parity)
    assert equalised_odds(predicted, y, z, classes=2).interval.value == pytest.approx(odds)
