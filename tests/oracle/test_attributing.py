"""Attributions and rank correlation against closed forms and scipy."""

import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from expunge.algebra.attributing import integrated_gradients, rank_correlation


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_of_a_linear_score_one_step_is_exact():
    x, weights, start = torch.randn(4, 6), torch.randn(6), torch.randn(6)
    found = integrated_gradients(lambda rows: rows @ weights, x, start, 1)
    torch.testing.assert_close(found, weights * (x - start))


def test_of_a_sum_of_squares_the_midpoint_rule_is_exact():
    x, weights, start = torch.randn(4, 6), torch.randn(6), torch.randn(6)
    found = integrated_gradients(lambda rows: rows.square() @ weights, x, start, 3)
    torch.testing.assert_close(found, weights * (x.square() - start.square()))


def test_attributions_of_a_network_add_up_to_what_its_score_gains():
    model = nn.Sequential(nn.Linear(6, 23), nn.Tanh(), nn.Linear(23, 3))
    x, start = torch.randn(4, 6), torch.zeros(6)
    found = integrated_gradients(lambda rows: model(rows)[:, 1], x, start, 64)
    gains = model(x)[:, 1] - model(start[None])[:, 1]
    torch.testing.assert_close(found.sum(1), gains, rtol=0, atol=1e-3)


def test_rank_correlation_is_scipys_with_ties_and_none_where_a_row_is_constant():
    a, b = torch.randint(0, 4, (5, 30)).float(), torch.randn(5, 30)
    a[3] = 2.0
    found = rank_correlation(a, b)
    assert found[3].isnan()
    for row in (0, 1, 2, 4):
        assert found[row].item() == pytest.approx(spearmanr(a[row], b[row]).statistic)
