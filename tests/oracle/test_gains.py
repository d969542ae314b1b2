"""Gains of guesses against scikit-learn, DeLong, and gains that are known."""

from math import log2

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from expunge.algebra.gains import bits, hits, interval, ranking
from expunge.algebra.guessing import Asked
from expunge.algebra.statistics import auc

K, C = 3, 2


def told_by(share, n=400):
    """Guesses that put more on the true group, and bets that put the same on all."""
    z = torch.arange(n) % K
    bets = torch.full((n, K), -log2(K)).double()
    return share.log2(), Asked(torch.zeros(n, 1), z, bets, torch.ones(n, 1).double())


def test_the_pointwise_gain_tells_who_is_exposed():
    share = torch.full((3, K), 0.25)
    share[0] = torch.tensor([0.5, 0.25, 0.25])
    share[1] = torch.tensor([0.8, 0.1, 0.1])
    told, asked = told_by(share, 3)
    found = bits(told, asked).tolist()
    assert found == pytest.approx([log2(K / 2), log2(0.1 * K), log2(0.25 * K)])


def test_the_gain_in_accuracy_counts_who_is_won_and_who_is_lost():
    z = torch.tensor([0, 0, 1, 1, 2])
    bets = torch.tensor([[0.5, 0.3, 0.2]]).log2().expand(5, K).double()
    told = F.one_hot(torch.tensor([0, 1, 1, 2, 2]), K).float() + 0.01
    asked = Asked(torch.zeros(5, 1), z, bets, torch.ones(5, 1).double())
    assert hits(told.log2(), asked).tolist() == [0, -1, 1, 0, 1]


def ranked(n=500, seed=5, classes=1):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(K, (n,), generator=generator)
    inside = F.one_hot(torch.arange(n) % classes, classes).double()
    told = (torch.randn(n, K, generator=generator) + 0.8 * F.one_hot(z, K)).log_softmax(1)
    return told.double(), Asked(torch.zeros(n, 1), z, told.double() * 0 - log2(K), inside)


def test_ranking_is_the_mean_auc_of_every_group_against_the_others():
    told, asked = ranked()
    want = [roc_auc_score((asked.z == k).numpy(), told[:, k].numpy()) for k in range(K)]
    assert ranking(told, asked).value == pytest.approx(sum(want) / K)


def test_ranking_stays_inside_classes_and_weighs_them_by_size():
    told, asked = ranked(300)
    y = (torch.arange(300) >= 200).long()
    split = Asked(asked.x, asked.z, asked.bets, F.one_hot(y, C).double())
    shifted = told + 5 * y[:, None]  # what separates classes alone counts for nothing
    parts = [ranking(told[y == c], asked.only(y == c)).value for c in range(C)]
    assert ranking(shifted, split).value == pytest.approx(parts[0] * 2 / 3 + parts[1] / 3)


def test_where_every_class_has_one_group_there_is_no_ranking():
    told, asked = ranked(60)
    alone = Asked(asked.x, asked.z, asked.bets, F.one_hot(asked.z, K).double())
    assert ranking(told, alone) is None


def test_of_two_groups_the_interval_is_delongs():
    told, asked = ranked(400)
    some = asked.z < 2
    told, asked = told[some], asked.only(some)
    told[:, 0] = -told[:, 1]
    found, want = ranking(told, asked), auc(told[asked.z == 1, 1], told[asked.z == 0, 1])
    assert found.value == pytest.approx(want.value)
    assert found.high - found.low == pytest.approx(want.high - want.low, rel=0.02)


def test_perfect_ranking_is_no_certainty():
    told, asked = told_by(F.one_hot(torch.arange(12) % K, K) * 0.9 + 0.01, 12)
    found = ranking(told, asked)
    assert found.value == 1
    assert found.low < 0.95


@pytest.mark.parametrize("read", ["bits", "ranking"])
def test_samples_of_one_subject_are_no_independent_witnesses(read):
    told, asked = ranked(200)
    subject = torch.arange(200)
    of = {
        "bits": lambda t, a, s: interval(bits(t, a), s),
        "ranking": ranking,
    }[read]
    plain, single = of(told, asked, None), of(told, asked, subject)
    assert single.high - single.low == pytest.approx(plain.high - plain.low, rel=1e-6)
    four = torch.arange(200).repeat(4)
    copied = of(told[four], asked.only(four), subject.repeat(4))
    assert copied.value == pytest.approx(plain.value)
    assert copied.high - copied.low == pytest.approx(plain.high - plain.low, rel=0.01)


@pytest.mark.parametrize("many", [25, 100])
def test_that_nobody_gained_is_no_certainty_and_less_of_one_with_fewer_subjects(many):
    each = torch.zeros(100).double()
    found = interval(each, torch.arange(100) % many)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / many))  # so many misses, and no hit
    assert interval(each) == interval(each, torch.arange(100))


def test_intervals_of_ranking_cover_the_truth():
    truth = ranking(*ranked(60_000)).value
    found = [ranking(*ranked(150, seed=100 + seed)) for seed in range(100)]
    assert 89 <= sum(each.low < truth < each.high for each in found) <= 99
