"""Groups told apart by judges who never saw them: right on average, no surer than they may be."""

from functools import cache

import pytest
import torch
from scipy import stats

from expunge.algebra.crossing import auc_of_crossed, crossed, crossed_auc, forest, hyperplane


def normal(seed, m, n, d, shift=0.0):
    draw = torch.Generator().manual_seed(seed)
    inside, outside = (torch.randn(size, d, generator=draw).double() for size in (m, n))
    inside[:, 0] += shift
    return inside, outside


@cache
def covered(runs, size, d, judges):
    found = [crossed_auc(*normal(seed, size, size + 7, d), 5, judges) for seed in range(runs)]
    values = torch.tensor([each.value for each in found])
    return values, sum(each.low <= 0.5 <= each.high for each in found) / runs


def test_where_nothing_is_to_be_told_nothing_is_told_and_intervals_hold():
    values, share = covered(100, 40, 2, (hyperplane,))
    assert abs(values.mean() - 0.5) < 4 * values.std() / 100**0.5
    assert share >= 0.93


def test_parts_that_learn_from_each_other_vary_more_than_independent_samples_would():
    values, _ = covered(100, 40, 2, (hyperplane,))
    independent = (1 / 40 + 1 / 47) / 12  # the variance of an AUC where nothing is to be told
    assert 1.3 < values.var() / independent < 2.7


@pytest.mark.slow
def test_an_even_split_passes_whoever_judges():
    _, share = covered(100, 60, 3, (hyperplane, forest))
    assert share >= 0.93


def test_a_shift_is_told_as_well_as_it_can_be():
    found = crossed_auc(*normal(0, 400, 450, 2, shift=1.5), 5, [hyperplane])
    assert found.low < stats.norm.cdf(1.5 / 2**0.5) < found.high


def test_what_no_hyperplane_sees_trees_do():
    inside, outside = normal(1, 150, 170, 2)
    inside[:, 1] = inside[:, 0].sign() * inside[:, 1].abs()
    outside[:, 1] = -outside[:, 0].sign() * outside[:, 1].abs()
    assert crossed_auc(inside, outside, 5, [hyperplane]).value < 0.65
    assert crossed_auc(inside, outside, 5, [forest]).value > 0.95
    assert crossed_auc(inside, outside, 5).low > 0.5


def test_few_samples_told_apart_perfectly_are_no_certainty():
    found = crossed_auc(*normal(2, 6, 7, 3, shift=50.0), 3, [hyperplane])
    assert found.value == 1
    assert 0.3 < found.low < 0.9


def test_groups_of_the_same_rows_are_not_told_apart():
    same = torch.ones(11, 3).double()
    assert crossed_auc(same, same, 4).value == 0.5


def test_crossed_scores_come_from_judges_who_never_saw_the_row():
    own = torch.eye(25)  # every row has a feature of its own, so only memory could tell them apart
    scores = torch.cat(crossed(own[:10], own[10:], 5, hyperplane))
    torch.testing.assert_close(scores, scores[:1].expand(25))


def test_intervals_of_crossed_scores_hold_where_nothing_is_to_be_told():
    found = [
        auc_of_crossed(*crossed(*normal(seed, 60, 67, 8), 5, hyperplane)) for seed in range(100)
    ]
    values = torch.tensor([each.value for each in found])
    assert abs(values.mean() - 0.5) < 4 * values.std() / 100**0.5
    assert sum(each.low <= 0.5 <= each.high for each in found) >= 93
