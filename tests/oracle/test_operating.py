"""True positives at few false ones, against plain loops, closed forms and exact coverage."""

from math import inf

import pytest
import torch
from scipy import stats
from scipy.stats import norm

from expunge.algebra.operating import advantage, tpr_at
from expunge.algebra.statistics import clopper_pearson


def drawn(seed, m, n, *, shift=0.0, levels=None):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, generator=generator).double() + shift
    y = torch.randn(n, generator=generator).double()
    return (x, y) if levels is None else ((x * levels).round(), (y * levels).round())


@pytest.mark.parametrize("fpr", [0.05, 0.1, 0.29, 0.5, 1.0])
@pytest.mark.parametrize("levels", [None, 2])
def test_the_threshold_is_the_lowest_with_no_more_false_positives(fpr, levels):
    x, y = drawn(0, 53, 100, shift=0.7, levels=levels)
    candidates = [-inf, *sorted({*x.tolist(), *y.tolist()})]
    lowest = min(t for t in candidates if sum(s > t for s in y.tolist()) <= round(100 * fpr))
    found = tpr_at(x, y, fpr, draws=10)
    assert (found.asked, found.at, found.word) == (fpr, fpr, "ok")
    caught, suspected = sum(s > lowest for s in x.tolist()), sum(s > lowest for s in y.tolist())
    assert found.tpr.value == caught / 53
    assert found.fpr == clopper_pearson(suspected, 100)
    assert found.fpr.value <= fpr


def test_five_non_members_must_be_let_through():
    x, y = drawn(1, 40, 499)
    few, enough = tpr_at(x, y, 0.01, draws=10), tpr_at(x, drawn(1, 40, 500)[1], 0.01, draws=10)
    assert (few.word, enough.word) == ("insufficient_n", "ok")
    assert few.at == 5 / 499
    assert few.asked == 0.01
    assert enough.at == 0.01
    assert enough.fpr == clopper_pearson(5, 500)


def test_with_fewer_than_five_non_members_no_threshold_stands():
    found = tpr_at(*drawn(2, 6, 4), 0.1, draws=10)
    assert (found.word, found.at, found.threshold) == ("insufficient_n", 1.0, -inf)
    assert found.tpr.value == 1


@pytest.mark.parametrize(
    ("shift", "at_1_percent", "at_1_permille"),
    [(1.0, 0.0924, 0.0183), (2.0, 0.3721, 0.1378), (3.0, 0.7497, 0.4641)],
)
def test_planted_gaussians_are_caught_as_often_as_the_closed_form_says(
    shift, at_1_percent, at_1_permille
):
    x, y = drawn(3, 40_000, 40_000, shift=shift)
    for fpr, wanted in ((0.01, at_1_percent), (0.001, at_1_permille)):
        assert norm.cdf(shift - norm.ppf(1 - fpr)) == pytest.approx(wanted, abs=6e-5)
        found = tpr_at(x, y, fpr, draws=20)
        assert found.tpr.value == pytest.approx(wanted, abs=0.025)


def test_only_the_order_of_scores_matters():
    x, y = drawn(4, 31, 120, shift=1.0)
    plain, curved = tpr_at(x, y, 0.05), tpr_at(x.exp(), y.exp(), 0.05)
    assert (plain.tpr, plain.fpr) == (curved.tpr, curved.fpr)


def test_the_interval_is_that_of_a_loop_over_resamples():
    x, y = drawn(5, 60, 200, shift=1.5, levels=6)
    generator = torch.Generator().manual_seed(9)
    found = []
    for _ in range(3000):
        a = x[torch.randint(60, (60,), generator=generator)]
        b = y[torch.randint(200, (200,), generator=generator)]
        found.append((a > b.sort(descending=True).values[10]).double().mean().item())
    low, high = (
        torch.tensor(found).double().quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    )
    ours = tpr_at(x, y, 0.05, draws=3000)
    assert (ours.tpr.low, ours.tpr.high) == pytest.approx((low, high), abs=0.02)


def test_nobody_caught_is_no_proof_that_nobody_can_be():
    found = tpr_at(torch.zeros(59), torch.arange(200.0), 0.05)
    assert (found.tpr.value, found.tpr.low) == (0, 0)
    assert found.tpr.high == clopper_pearson(0, 59).high


def test_samples_of_one_model_share_its_fate():
    generator = torch.Generator().manual_seed(6)
    luck = torch.randn(12, generator=generator).double()
    x, y = drawn(7, 600, 1200, shift=1.0)
    whose = torch.arange(600) % 12, torch.arange(1200) % 12
    x = x + luck[whose[0]]
    alone, together = tpr_at(x, y, 0.05), tpr_at(x, y, 0.05, models=whose)
    assert alone.tpr.value == together.tpr.value
    assert together.tpr.high - together.tpr.low > 2 * (alone.tpr.high - alone.tpr.low)


def test_the_upper_end_of_the_realised_rate_is_exact_for_a_threshold_that_was_searched():
    """A share of Beta(6, 95) of continuous scores lies above the sixth highest of a hundred."""
    found = tpr_at(*drawn(11, 3, 100), 0.05, draws=1)
    assert found.fpr.high == pytest.approx(stats.beta.ppf(0.975, 6, 95))
    below = [norm.sf(tpr_at(*drawn(s, 3, 100), 0.05, draws=1).threshold) for s in range(80)]
    assert stats.kstest(below, stats.beta(6, 95).cdf).pvalue > 0.001


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        tpr_at(torch.tensor([1.0, torch.nan]), torch.ones(7), 0.1)


def test_an_advantage_on_other_samples_is_that_of_the_closed_form():
    for shift in (0.0, 1.0, 2.0):
        found = advantage(*drawn(9, 20_000, 20_000, shift=shift))
        assert found.value == pytest.approx(2 * norm.cdf(shift / 2) - 1, abs=0.015)


def test_where_nothing_is_to_be_found_there_is_no_advantage_on_average():
    found = [advantage(*drawn(seed, 30, 40), seed=seed) for seed in range(120)]
    mean = sum(each.value for each in found) / 120
    best = 0.0
    for seed in range(120):
        x, y = drawn(seed, 30, 40)
        lines = torch.cat([x, y])[:, None]
        best += ((x > lines).double().mean(1) - (y > lines).double().mean(1)).max().item() / 120
    assert abs(mean) < 0.04
    assert best > 0.12
    assert sum(each.low <= 0 <= each.high for each in found) >= 0.93 * 120


def test_members_that_all_score_higher_have_the_whole_advantage():
    x, y = drawn(10, 21, 34)
    found = advantage(x + 100, y)
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.9
    assert advantage(x - 100, y).value == 0
    assert advantage(torch.ones(7), torch.ones(9)).value == 0


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    wanted = norm.cdf(1 - norm.ppf(0.95))
    covered = 0
    for seed in range(120):
        found = tpr_at(*drawn(seed, 200, 400, shift=1.0), 0.05, draws=500, seed=seed)
        covered += found.tpr.low <= wanted <= found.tpr.high
    assert covered / 120 >= 0.92
