"""The linear probe against scikit-learn's, and against what two Gaussians allow."""

import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from expunge.algebra.probing import probe
from expunge.algebra.statistics import auc


def two(n, m, d, apart, seed=0):
    """Two Gaussians whose means are ``apart`` standard deviations from each other."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=generator), torch.randn(m, d, generator=generator)
    x[:, 0] += apart
    return x, y


@pytest.mark.parametrize("l2", [1e-3, 0.5])
def test_the_probe_is_a_balanced_logistic_regression(l2):
    inside, outside = two(31, 83, 5, 1.0)
    x, group = torch.cat([inside, outside]), torch.arange(114) < 31
    rows = StandardScaler().fit_transform(x.double().numpy())
    theirs = LogisticRegression(C=1 / (l2 * 114), class_weight="balanced", tol=1e-10, max_iter=999)
    want = theirs.fit(rows, group.numpy()).decision_function(rows)
    found = probe(x, group, l2).scores(x)
    torch.testing.assert_close(found, torch.from_numpy(want), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.0])
def test_the_probe_reads_as_much_as_there_is(apart):
    train, test = two(3000, 1500, 4, apart), two(3000, 2000, 4, apart, seed=1)
    found = probe(torch.cat([*train]), torch.arange(4500) < 3000, 1e-3)
    value = auc(*(found.scores(x) for x in test)).value
    assert value == pytest.approx(stats.norm.cdf(apart / 2**0.5), abs=0.02)


def test_a_feature_that_never_changes_says_nothing():
    inside, outside = two(20, 30, 3, 1.0)
    x, group = torch.cat([inside, outside]), torch.arange(50) < 20
    found = probe(torch.cat([x, torch.full((50, 1), 7.0)], 1), group, 1e-2)
    assert found.weights[3] == 0
    torch.testing.assert_close(found.weights[:3], probe(x, group, 1e-2).weights)
