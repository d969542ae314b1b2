"""Bootstrap intervals against plain loops, closed forms, and how often they cover."""

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.algebra.resampling import clustered, stratified


def weighted_mean(values):
    return lambda weights: (weights @ values) / weights.sum(1)


def difference(a, b):
    return lambda u, v: weighted_mean(a)(u) - weighted_mean(b)(v)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_the_value_is_that_of_what_was_drawn_in_truth():
    a, b = normal(0, 31), normal(1, 17)
    found = stratified(difference(a, b), 31, 17)
    assert found.value == pytest.approx((a.mean() - b.mean()).item())
    assert found.low < found.value < found.high


def test_resamples_are_those_of_scipy_as_far_as_chance_allows():
    a, b = normal(2, 40).exp(), normal(3, 23).exp()
    found = stratified(difference(a, b), 40, 23, draws=20_000)
    theirs = stats.bootstrap(
        (a.numpy(), b.numpy()),
        lambda x, y, axis: x.mean(axis) - y.mean(axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_every_group_keeps_its_size():
    seen = []

    def statistic(u, v):
        seen.append((u.sum(1), v.sum(1)))
        return u[:, 0]

    stratified(statistic, 13, 8, draws=50)
    for u, v in seen:
        assert bool((u == 13).all())
        assert bool((v == 8).all())


def test_a_cluster_is_drawn_with_all_its_values_in_all_groups():
    a, b = torch.tensor([7, 7, 3, 9, 3]), torch.tensor([9, 7, 3])

    def statistic(u, v):
        assert torch.equal(u[:, [0, 2, 3]], u[:, [1, 4, 3]])
        assert torch.equal(v, u[:, [3, 0, 2]])
        assert bool((v.sum(1) == 3).all())
        return u.sum(1)

    clustered(statistic, a, b, draws=200)


def test_clusters_of_one_are_samples():
    values = normal(4, 29)
    alone = clustered(weighted_mean(values), torch.arange(29), draws=500, seed=1)
    assert alone == stratified(weighted_mean(values), 29, draws=500, seed=1)


def test_values_that_share_their_cluster_tell_no_more_than_one():
    once = normal(5, 25)
    many, whose = once.repeat_interleave(8), torch.arange(25).repeat_interleave(8)
    found = clustered(weighted_mean(many), whose, draws=4000)
    wanted = stratified(weighted_mean(once), 25, draws=4000)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    blind = stratified(weighted_mean(many), 200, draws=4000)
    assert found.high - found.low > 2 * (blind.high - blind.low)


def test_the_same_seed_gives_the_same_interval_however_little_memory_there_is(monkeypatch):
    values = normal(6, 37)
    whole = stratified(weighted_mean(values), 37, draws=300, seed=5)
    assert whole == stratified(weighted_mean(values), 37, draws=300, seed=5)
    assert whole != stratified(weighted_mean(values), 37, draws=300, seed=6)
    monkeypatch.setattr("expunge.algebra.resampling._ROOM", 370)
    assert whole == stratified(weighted_mean(values), 37, draws=300, seed=5)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(8)
    wanted = torch.rand(3)
    torch.manual_seed(8)
    stratified(weighted_mean(normal(7, 9)), 9, draws=20)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.slow
def test_intervals_of_clustered_means_cover_as_often_as_they_say():
    covered = 0
    for seed in range(400):
        level, noise = normal(seed, 40), normal(1000 + seed, 40, 5)
        values = (level[:, None] + 0.5 * noise).flatten()
        whose = torch.arange(40).repeat_interleave(5)
        found = clustered(weighted_mean(values), whose, draws=500, seed=seed)
        covered += found.low <= 0 <= found.high
    assert 0.91 <= covered / 400 <= 0.98
