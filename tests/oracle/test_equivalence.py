"""Two one-sided tests against scipy's one-sided tests, interval for interval, and in power."""

import pytest
import torch
from scipy import stats
from scipy.stats import norm

from expunge.algebra.equivalence import paired_tost, tost


@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.2, 2.0])
def test_both_tests_are_scipys(mean):
    x = torch.randn(14, generator=torch.Generator().manual_seed(0)).double() * 0.4 + mean
    below = stats.ttest_1samp(x.numpy(), 0.5, alternative="less").pvalue
    above = stats.ttest_1samp(x.numpy(), -0.5, alternative="greater").pvalue
    assert paired_tost(x, margin=0.5).p == pytest.approx(max(below, above))


def test_the_test_rejects_just_where_the_interval_lies_inside_the_margin():
    generator = torch.Generator().manual_seed(1)
    agreed = []
    for _ in range(200):
        x = torch.randn(8, generator=generator).double() * 0.3
        found = paired_tost(x, margin=0.2)
        inside = found.interval.low > -0.2 and found.interval.high < 0.2
        assert inside == (found.p < 0.05)
        agreed.append(inside)
    assert 10 < sum(agreed) < 190


@pytest.mark.parametrize(("margin", "samples"), [(0.05, 570), (0.03, 1590)])
def test_as_many_samples_as_are_planned_show_equivalence_in_four_cases_of_five(margin, samples):
    error = ((2 * samples + 1) / (12 * samples**2)) ** 0.5  # of an AUC of one half
    generator = torch.Generator().manual_seed(2)
    draws = (torch.randn(800, generator=generator).double() * error).tolist()
    power = sum(tost(value, error, margin=margin).p < 0.05 for value in draws) / 800
    assert power == pytest.approx(0.8, abs=0.04)
    assert 2 * norm.cdf(margin / error - norm.ppf(0.95)) - 1 == pytest.approx(0.8, abs=0.005)


def test_a_difference_as_large_as_the_margin_is_called_small_as_often_as_allowed():
    generator = torch.Generator().manual_seed(3)
    draws = torch.randn(600, 10, generator=generator).double() * 0.2 + 0.5
    called = sum(paired_tost(x, margin=0.5).p < 0.05 for x in draws) / 600
    assert called == pytest.approx(0.05, abs=0.027)


def test_one_pair_shows_nothing_and_equal_pairs_show_all():
    assert paired_tost(torch.zeros(1), margin=0.1).p == 1
    assert paired_tost(torch.zeros(5), margin=0.1).p == 0
    assert paired_tost(torch.ones(5), margin=0.1).p == 1
