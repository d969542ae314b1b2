"""Similarity of features against brute force, known values, and what must not matter."""

from itertools import permutations

import pytest
import torch

from expunge.algebra.geometry import procrustes
from expunge.algebra.similarity import debiased_cka, form, procrustes_distance


def normal(n, d, seed):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw).double()


def biased(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return ((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())).item()


def test_unrelated_features_are_unlike_although_there_are_more_of_them_than_samples():
    x, y = normal(100, 512, 0), normal(100, 512, 1)
    assert biased(x, y) == pytest.approx(0.836, abs=0.01)
    assert abs(debiased_cka(form(x), form(y))) < 0.05


def by_hand(k, el):
    """Over all four different samples: what they say together, less what they say by chance."""
    every = list(permutations(range(len(k)), 4))
    found = [k[i, j] * (el[i, j] + el[q, r] - 2 * el[i, q]) for i, j, q, r in every]
    return sum(found) / len(every)


def test_it_is_the_mean_over_all_four_different_samples():
    x, y = form(normal(6, 3, 2)), form(normal(6, 2, 3) + normal(6, 3, 2)[:, :2])
    k, el = x @ x.T, y @ y.T
    want = by_hand(k, el) / (by_hand(k, k) * by_hand(el, el)) ** 0.5
    assert debiased_cka(x, y) == pytest.approx(want.item())


def test_axes_scale_and_shift_mean_nothing_and_other_linear_maps_do():
    x = normal(60, 5, 4)
    turn, _ = torch.linalg.qr(normal(5, 5, 5))
    same, other = 3.5 * x @ turn + 7, x @ torch.diag(torch.tensor([9.0, 1, 1, 1, 0.1]).double())
    assert debiased_cka(form(x), form(same)) == pytest.approx(1)
    assert procrustes_distance(form(x), form(same)) == pytest.approx(0, abs=1e-7)
    assert debiased_cka(form(x), form(other)) < 0.8
    assert procrustes_distance(form(x), form(other)) > 0.2


def test_the_distance_is_what_is_left_after_the_best_rotation():
    x, y = normal(40, 4, 6), normal(40, 4, 7)
    x, y = ((each - each.mean(0)) / (each - each.mean(0)).norm() for each in (x, y))
    left = (x @ procrustes(x, y) - y).square().sum().item()
    assert procrustes_distance(form(x), form(y)) == pytest.approx(left)


def test_models_of_other_widths_are_compared():
    x = normal(50, 3, 8)
    wider = torch.cat([x, torch.zeros(50, 4)], 1)
    assert debiased_cka(form(x), form(wider)) == pytest.approx(1)
    assert procrustes_distance(form(x), form(wider)) == pytest.approx(0, abs=1e-7)


def test_features_that_do_not_vary_have_no_form():
    assert not form(torch.ones(5, 3)).any()
    assert not form(torch.ones(5, 9)).any()


def test_more_axes_than_samples_are_turned_into_as_many():
    x, y = normal(12, 40, 9), normal(12, 30, 10)
    x, y = ((each - each.mean(0)) / (each - each.mean(0)).norm() for each in (x, y))
    torch.testing.assert_close(form(x) @ form(x).T, x @ x.T)
    assert form(x).shape == (12, 12)
    left = 2 - 2 * torch.linalg.svdvals(x.T @ y).sum().item()
    assert procrustes_distance(form(x), form(y)) == pytest.approx(left)
