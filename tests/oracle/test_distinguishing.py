"""What errors say about ε: the definition, exact intervals, and runs whose privacy is known."""

from math import exp, log

import pytest
import torch
from scipy import stats

from expunge.algebra.distinguishing import epsilon, epsilon_bound
from expunge.algebra.statistics import clopper_pearson


def whole(*numbers):
    return torch.tensor(numbers)


def real(*numbers):
    return torch.tensor(numbers, dtype=torch.double)


@pytest.mark.parametrize("eps", [0.0, 0.4, 2.0, 6.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.05])
def test_rates_on_the_curve_of_the_best_rules_give_its_epsilon_back(eps, delta):
    fpr = torch.linspace(0.01, 0.9, 40).double()
    lines = torch.stack([1 - delta - exp(eps) * fpr, exp(-eps) * (1 - delta - fpr)])
    fnr = lines.amax(0)
    least = fnr > 0
    assert least.sum() > 30
    found = epsilon(fpr[least], fnr[least], delta=delta)
    assert found.tolist() == pytest.approx([eps] * int(least.sum()), abs=1e-9)
    assert epsilon(fpr, fnr.clamp_min(0) + 0.01, delta=delta).max() <= eps


def test_rules_that_never_err_have_no_epsilon_and_blind_ones_zero():
    assert epsilon(real(0, 0.1, 0), real(0, 0, 0.3)).tolist() == [torch.inf] * 3
    assert epsilon(real(0.3, 1, 0), real(0.7, 0, 1)).tolist() == [0, 0, 0]
    assert epsilon(real(0.5), real(0.5), delta=1e-5).item() == 0


@pytest.mark.parametrize(("suspected", "missed"), [(0, 0), (3, 40), (40, 3), (60, 70)])
def test_the_bound_is_that_of_two_exact_intervals(suspected, missed):
    fpr, fnr = clopper_pearson(suspected, 120).high, clopper_pearson(missed, 90).high
    low = [log(max(1 - 1e-5 - a, 1e-300) / b) for a, b in ((fpr, fnr), (fnr, fpr))]
    found = epsilon_bound(whole(suspected), whole(missed), of=(120, 90))
    assert found.item() == pytest.approx(max(0.0, *low))


def test_five_hundred_perfect_runs_show_no_more_than_five():
    assert clopper_pearson(0, 500, 0.90).high == pytest.approx(0.0060, abs=5e-5)
    assert clopper_pearson(0, 500).high == pytest.approx(0.0074, abs=5e-5)
    perfect = epsilon_bound(whole(0), whole(0), of=(500, 500)).item()
    assert perfect == pytest.approx(4.9, abs=0.01)


def test_the_bound_holds_for_runs_whose_privacy_is_known():
    """A coin is told right with probability e / (1 + e): ε = 1, and all of it is seen."""
    wrong = 1 / (1 + exp(1))
    suspected, missed = (
        torch.from_numpy(stats.binom.rvs(300, wrong, size=4000, random_state=seed))
        for seed in (0, 1)
    )
    found = epsilon_bound(suspected, missed, of=(300, 300), delta=0.0)
    assert (found > 1).double().mean() <= 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5
    assert found.mean() > 0.6
