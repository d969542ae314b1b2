"""Forgetting quality against a plain grid of thresholds, and bounds against known privacy."""

from math import inf

import numpy as np
import pytest
import torch

from expunge.algebra.challenge import (
    epsilon_bounds,
    epsilons,
    points,
    quality,
    relative_quality,
)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def told(fp, fn, delta=1e-5):
    if fp == 0 and fn == 0:
        return inf
    if fp == 0 or fn == 0:
        return 0.0
    return max(0.0, *(np.log(max(1 - delta - a, 1e-300) / b) for a, b in ((fp, fn), (fn, fp))))


def by_grid(u, r, step):
    """One record: all thresholds in steps, of one and of two, as the challenge describes them."""
    high, low = (r, u) if np.median(r) > np.median(u) else (u, r)
    both = np.concatenate([u, r])
    best = max(
        told((low >= t).mean(), (high < t).mean()) for t in np.arange(both.min(), both.max(), step)
    )
    inner, outer = (r, u) if np.ptp(r) < np.ptp(u) else (u, r)
    for right in np.arange(inner.max() - 2, inner.max() + 2, step):
        for width in np.ptp(inner) + np.arange(-2, 2, step):
            a, b = ((right - width <= x) & (x <= right) for x in (inner, outer))
            best = max(best, told(b.mean(), 1 - a.mean()))
    return min(best, 50.0)


def test_all_rules_tell_what_a_grid_of_them_tells_and_hardly_more():
    u, r = normal(0, 8, 4) * 0.8, normal(1, 8, 4)
    r[:, 3] += 9
    found = epsilons(u, r).tolist()
    grid = [by_grid(u[:, j].numpy(), r[:, j].numpy(), 0.05) for j in range(4)]
    assert all(ours >= theirs - 1e-9 for ours, theirs in zip(found, grid, strict=True))
    assert sum(found) - sum(grid) < 0.4
    assert found[3] == 50


def test_models_with_the_same_scores_cannot_be_told_apart():
    u = normal(2, 12, 5)
    assert epsilons(u, u.flip(0)).tolist() == [0] * 5
    assert quality(u, u) == 1
    assert quality(u * 0, u * 0) == 1


def test_models_that_never_overlap_are_always_told_apart_and_get_no_points():
    u, r = normal(3, 14, 4), normal(4, 14, 4) + 20
    assert epsilons(u, r).tolist() == [50] * 4
    assert quality(u, r) == 0
    assert quality(r, u) == 0


def test_models_that_all_say_the_same_give_themselves_away():
    r = normal(5, 20, 3)
    peak = 1e-3 * normal(6, 20, 3)
    assert epsilons(peak, r).tolist() == [50] * 3
    assert epsilons(r, peak).tolist() == [50] * 3


def test_a_narrower_kind_is_told_by_two_thresholds():
    narrow, wide = normal(7, 200, 3) * 0.2, normal(8, 200, 3) * 2
    assert epsilons(narrow, wide).min() > 1.9
    assert (epsilons(narrow, wide) - epsilons(wide, narrow)).abs().max() < 1e-9


def test_points_are_halved_at_every_edge_of_the_buckets():
    given = torch.tensor([0, 0.499, 0.5, 0.999, 1.0, 6.5, 6.999, 7.0, 50.0]).double()
    wanted = [1, 1, 0.5, 0.5, 0.25, 0.5**13, 0.5**13, 0, 0]
    assert points(given, 512).tolist() == wanted
    assert points(torch.tensor([3.9, 4.0]).double(), 32).tolist() == [0.5**7, 0]


def test_where_all_rules_are_in_reach_only_the_order_matters():
    inside = torch.rand(11, 5, generator=torch.Generator().manual_seed(9)).double()
    u, r = 0.4 + 0.2 * inside, inside.flip(0)
    torch.testing.assert_close(epsilons(u**2, r**2), epsilons(u, r))


def test_neither_the_order_of_models_nor_other_records_matter(monkeypatch):
    u, r = normal(10, 13, 8), normal(11, 13, 8) + 0.5
    found = epsilons(u, r)
    assert torch.equal(epsilons(u.flip(0), r + 0.0), found)
    torch.testing.assert_close(epsilons(u + 7, r + 7), found)
    monkeypatch.setattr("expunge.algebra.resampling._ROOM", 1)
    assert torch.equal(epsilons(u, r), found)


@pytest.mark.parametrize("models", [8, 32])
def test_models_that_are_alike_do_not_reach_a_quality_of_one(models):
    found = epsilons(normal(12, models, 500), normal(13, models, 500))
    assert found.mean().item() == pytest.approx(1.58, abs=0.12)
    assert points(found, models).mean().item() == pytest.approx(0.18, abs=0.03)


def test_the_quality_of_retrained_models_relative_to_themselves_is_one():
    r, other = normal(14, 48, 120), normal(15, 24, 120)
    assert relative_quality(other, r, splits=4) == pytest.approx(1, abs=0.25)
    assert relative_quality(other + 2, r, splits=4) < 0.5
    assert relative_quality(other[:9], r, splits=2) == relative_quality(other[:9], r, splits=2)


def test_few_models_have_no_quality_and_none_relative_to_them():
    r = normal(16, 5, 30)
    assert quality(r[:2], r[2:4]) == 0
    assert relative_quality(r, r) is None


@pytest.mark.parametrize(("models", "bound"), [(64, 0.79), (256, 1.73)])
def test_a_rule_that_was_found_elsewhere_bounds_epsilon(models, bound):
    n = 60 if models < 100 else 16
    alike = epsilon_bounds(normal(19, models, n), normal(20, models, n))
    shifted = epsilon_bounds(normal(21, models, n) + 2, normal(22, models, n))
    assert alike.tolist() == [0] * n
    assert bound - 0.15 < shifted.mean().item() < bound + 0.4


def test_the_bound_holds_where_epsilon_is_known():
    """Laplace noise of scale one hides a shift of one with ε = 1 exactly, and no δ."""
    even = torch.rand(2, 100, 120, generator=torch.Generator().manual_seed(23)).double() - 0.5
    u, r = even.sign() * torch.log1p(-2 * even.abs()) + torch.tensor([1, 0])[:, None, None]
    bounds = epsilon_bounds(u, r, delta=0.0)
    assert (bounds > 1).double().mean() <= 0.05 + 3 * (0.05 * 0.95 / 120) ** 0.5
    assert bounds.mean() > 0.05
    assert epsilons(u[:, :9], r[:, :9], delta=0.0).mean() > 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="finite"):
        epsilons(torch.full((4, 2), torch.nan), torch.ones(4, 2))
