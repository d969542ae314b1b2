"""AUC, its interval and the ROC curve, against scikit-learn, double loops and closed forms."""

from itertools import pairwise

import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from expunge.algebra.statistics import auc, roc


def brute_force(member, nonmember):
    pairs = [(x > y) + 0.5 * (x == y) for x in member.tolist() for y in nonmember.tolist()]
    return sum(pairs) / len(pairs)


def drawn(seed, m, n, *, levels=None):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(m, generator=generator, dtype=torch.double)
    b = torch.randn(n, generator=generator, dtype=torch.double) - 0.3
    return (a, b) if levels is None else ((a * levels).round(), (b * levels).round())


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 7), (6, 1), (23, 31), (150, 40)])
@pytest.mark.parametrize("levels", [None, 1, 3])
def test_auc_is_the_share_of_pairs_that_are_in_order(m, n, levels):
    member, nonmember = drawn(m * 100 + n, m, n, levels=levels)
    labels = [1] * m + [0] * n
    found = auc(member, nonmember).value
    assert found == pytest.approx(brute_force(member, nonmember), abs=1e-12)
    assert found == pytest.approx(roc_auc_score(labels, torch.cat([member, nonmember])), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 2])
def test_exchanging_the_groups_gives_the_complement_and_the_mirrored_interval(levels):
    member, nonmember = drawn(3, 41, 29, levels=levels)
    there, back = auc(member, nonmember), auc(nonmember, member)
    assert there.value + back.value == pytest.approx(1, abs=1e-12)
    assert there.low + back.high == pytest.approx(1, abs=1e-9)


def test_a_constant_score_knows_nothing():
    found = auc(torch.full((30,), 7.0), torch.full((50,), 7.0))
    assert found.value == 0.5
    assert found.low < 0.5 < found.high


def test_auc_depends_on_the_order_of_scores_alone():
    member, nonmember = drawn(5, 33, 57, levels=4)
    plain = auc(member, nonmember)
    for change in (torch.exp, lambda x: 3 * x - 8, lambda x: x**3):
        assert auc(change(member), change(nonmember)) == plain


def test_scores_closer_than_single_precision_are_still_told_apart():
    above = torch.full((25,), 1 + 1e-12, dtype=torch.double)
    assert auc(above, torch.ones(35, dtype=torch.double)).value == 1


def test_planted_gaussians_give_the_area_of_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(60, 2, 800, generator=generator, dtype=torch.double)
    found = [auc(a + 1, b) for a, b in draws]
    wanted = norm.cdf(2**-0.5)
    assert wanted == pytest.approx(0.7602, abs=1e-4)
    assert sum(f.value for f in found) / 60 == pytest.approx(wanted, abs=0.005)
    assert sum(f.low < wanted < f.high for f in found) >= 53


def test_the_interval_covers_as_often_as_it_says_when_nothing_is_to_be_found():
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(1500, 2, 500, generator=generator, dtype=torch.double)
    found = [auc(a, b) for a, b in draws]
    values = torch.tensor([f.value for f in found])
    assert values.std().item() == pytest.approx(0.0183, abs=0.001)
    covered = sum(f.low <= 0.5 <= f.high for f in found) / len(found)
    assert 0.93 <= covered <= 0.965


@pytest.mark.parametrize(("m", "n"), [(5, 400), (12, 12)])
def test_the_interval_of_few_members_covers_too(m, n):
    generator = torch.Generator().manual_seed(2)
    covered = 0
    for _ in range(600):
        a = torch.randn(m, generator=generator, dtype=torch.double) + 1
        b = torch.randn(n, generator=generator, dtype=torch.double)
        found = auc(a, b)
        covered += found.low <= norm.cdf(2**-0.5) <= found.high
    assert covered / 600 >= 0.92


@pytest.mark.parametrize("size", [1, 5, 19, 20, 300])
def test_perfect_separation_is_not_perfect_knowledge(size):
    low, high = torch.zeros(size), torch.ones(size)
    perfect, reverse = auc(high, low), auc(low, high)
    assert (perfect.value, perfect.high) == (1, 1)
    assert perfect.low < 1 - 0.1 / size
    assert (reverse.value, reverse.low) == (0, 0)
    assert reverse.high > 0.1 / size


def test_more_samples_never_widen_the_interval_of_perfect_separation():
    widths = [1 - auc(torch.ones(n), torch.zeros(n)).low for n in (2, 10, 19, 20, 100, 1000)]
    assert all(a > b for a, b in pairwise(widths))


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        auc(torch.tensor([1.0, torch.nan]), torch.ones(3))
    with pytest.raises(ValueError, match="finite"):
        auc(torch.ones(3), torch.tensor([torch.inf]))


@pytest.mark.parametrize("levels", [None, 1])
def test_the_curve_is_that_of_scikit_learn(levels):
    member, nonmember = drawn(9, 37, 61, levels=levels)
    fpr, tpr = roc(member, nonmember)
    labels = [1] * 37 + [0] * 61
    theirs = roc_curve(labels, torch.cat([member, nonmember]), drop_intermediate=False)
    assert fpr == pytest.approx(theirs[0].tolist(), abs=1e-12)
    assert tpr == pytest.approx(theirs[1].tolist(), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 1])
def test_the_area_under_the_curve_is_the_auc(levels):
    member, nonmember = drawn(10, 37, 61, levels=levels)
    fpr, tpr = (torch.tensor(x, dtype=torch.double) for x in roc(member, nonmember))
    area = torch.trapezoid(tpr, fpr).item()
    assert area == pytest.approx(auc(member, nonmember).value, abs=1e-12)


def test_the_curve_goes_from_corner_to_corner():
    fpr, tpr = roc(*drawn(11, 8, 13))
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert fpr == sorted(fpr)
    assert tpr == sorted(tpr)
