"""Gains of guesses against scikit-learn, DeLong, and gains that are known."""

from math import log2

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from expunge.algebra.gains import bits, hits, interval, ranking, rare
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
    told, asked = told_by(F.one_hot(torch.arange(63) % K, K) * 0.9 + 0.01, 63)
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


def sized(sizes, seed=0):
    """Guesses that are noise, about groups of these sizes in one class."""
    z = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    bets = (torch.tensor(sizes).double() / sum(sizes)).log2().expand(len(z), -1)
    noise = torch.randn(bets.shape, generator=torch.Generator().manual_seed(seed)).double()
    told = (bets + 0.3 * noise).log_softmax(1)
    return told, Asked(torch.zeros(len(z), 1), z, bets, torch.ones(len(z), 1).double())


@pytest.mark.parametrize("sizes", [(300, 95, 4, 1), (350, 48, 1, 1), (250, 30, 20)])
def test_intervals_of_ranking_cover_the_truth_where_some_groups_are_rare(sizes):
    found = [ranking(*sized(sizes, seed)) for seed in range(100)]
    assert 89 <= sum(each.low <= 0.5 <= each.high for each in found) <= 99


def test_rare_groups_are_left_out_of_the_ranking_and_counted():
    told, asked = sized((90, 40, 19))
    want = [roc_auc_score((asked.z == k).numpy(), told[:, k].numpy()) for k in range(2)]
    assert ranking(told, asked).value == pytest.approx(sum(want) / 2)
    assert rare(asked) == 1
    assert rare(sized((90, 40, 20))[1]) == 0
    alone = sized((90, 19))  # where all others are rare, so is the comparison with them
    assert ranking(*alone) is None
    assert rare(alone[1]) == 2


def test_a_class_weighs_as_much_as_it_has_samples_whether_or_not_a_group_is_left_out():
    first, second = sized((90, 40, 19), seed=1), sized((70, 31, 0), seed=2)
    told = torch.cat([first[0], second[0].nan_to_num(neginf=-99)])
    bets, z = (
        torch.cat([getattr(each[1], what) for each in (first, second)]) for what in ("bets", "z")
    )
    inside = F.one_hot((torch.arange(250) >= 149).long(), 2).double()
    asked = Asked(torch.zeros(250, 1), z, bets.clamp_min(-99), inside)
    parts = [ranking(told[k], asked.only(k)).value for k in (inside[:, 0] > 0, inside[:, 1] > 0)]
    assert abs(parts[0] - parts[1]) > 0.01
    want = (149 * parts[0] + 101 * parts[1]) / 250
    assert ranking(told, asked).value == pytest.approx(want)


def test_a_group_of_few_subjects_is_rare_however_many_samples_they_have():
    told, asked = sized((90, 40, 60))
    subject = torch.arange(len(asked))
    subject[asked.z == 2] %= 3
    assert rare(asked, subject) == 1
    some = Asked(asked.x, asked.z.clamp_max(2), asked.bets, asked.inside)
    assert ranking(told, some).value != pytest.approx(ranking(told, some, subject).value)


def test_ranking_is_by_what_a_guess_adds_to_bets_that_differ_inside_a_class():
    z = torch.arange(400) % 2
    share = (0.2 + 0.6 * (torch.arange(400) % 5 == z)).double()
    bets = torch.stack([1 - share, share], 1).log2()
    asked = Asked(torch.zeros(400, 1), z, bets, torch.ones(400, 1).double())
    assert ranking(bets, asked).value == 0.5
    told = (bets + 0.1 * F.one_hot(z, 2)).log_softmax(1)
    assert ranking(told, asked).value == 1
