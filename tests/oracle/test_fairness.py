"""Gaps between groups, against loops over their definitions and rates that are known."""

from itertools import product

import pytest
import torch

from expunge.algebra.fairness import demographic_parity, equalised_odds, worst
from expunge.algebra.statistics import clopper_pearson

N, K, C = 700, 3, 4


def drawn(seed=0, n=N, k=K, c=C, bias=0.0):
    generator = torch.Generator().manual_seed(seed)
    z, y = (torch.randint(many, (n,), generator=generator) for many in (k, c))
    told = torch.randn(n, c, generator=generator)
    told[:, -1] += bias * z
    told[torch.arange(n), y] += 1
    return told.argmax(1), y, z


def share(hits):
    return hits.double().mean().item()


@pytest.mark.parametrize("classes", [2, C])
def test_demographic_parity_is_the_largest_gap_between_shares_of_any_class(classes):
    predicted, _, z = drawn(c=classes, bias=0.7)
    want = max(
        share(predicted[z == a] == c) - share(predicted[z == b] == c)
        for a, b, c in product(range(K), range(K), range(classes))
    )
    found = demographic_parity(predicted, z, classes=classes)
    assert found.interval.value == pytest.approx(want)
    assert found.interval.low < want < found.interval.high
    assert (found.fewest, found.left_out) == (z.bincount().min(), 0)


def test_equalised_odds_of_two_classes_is_the_larger_gap_of_true_and_false_positives():
    predicted, y, z = drawn(k=2, c=2, bias=0.8)
    true, false = (
        abs(share(predicted[(z == 0) & (y == c)]) - share(predicted[(z == 1) & (y == c)]))
        for c in (1, 0)
    )
    found = equalised_odds(predicted, y, z, classes=2)
    assert found.interval.value == pytest.approx(max(true, false))
    assert found.group == 0


def test_equalised_odds_of_more_classes_looks_at_every_true_and_predicted_class():
    predicted, y, z = drawn(bias=0.5)
    want = max(
        share(predicted[(z == a) & (y == t)] == c) - share(predicted[(z == b) & (y == t)] == c)
        for a, b, t, c in product(range(K), range(K), range(C), range(C))
    )
    assert equalised_odds(predicted, y, z, classes=C).interval.value == pytest.approx(want)


def test_of_two_groups_the_interval_is_newcombes():
    z = torch.arange(200) // 120
    predicted = ((torch.arange(200) % 40) < 10 + 12 * z).long()
    found = demographic_parity(predicted, z, classes=2).interval
    few, many = clopper_pearson(30, 120), clopper_pearson(44, 80)
    assert found.value == pytest.approx(many.value - few.value)
    down = ((many.value - many.low) ** 2 + (few.high - few.value) ** 2) ** 0.5
    up = ((many.high - many.value) ** 2 + (few.value - few.low) ** 2) ** 0.5
    assert (found.low, found.high) == pytest.approx((found.value - down, found.value + up))


def test_of_two_classes_it_does_not_matter_which_is_looked_at():
    predicted, _, z = drawn(k=2, c=2)
    one, other = (demographic_parity(p, z, classes=2).interval for p in (predicted, 1 - predicted))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_a_gap_where_there_is_none_is_found_no_more_often_than_promised():
    alarms = sum(equalised_odds(*drawn(seed), classes=C).interval.low > 0 for seed in range(40))
    assert alarms <= 4


def test_intervals_of_a_known_gap_hold():
    held = 0
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        z = torch.arange(300) % K
        rate = torch.tensor([0.5, 0.6, 0.8])[z]
        predicted = (torch.rand(300, generator=generator) < rate).long()
        found = demographic_parity(predicted, z, classes=2).interval
        held += found.low <= 0.3 <= found.high
    assert held >= 55


def test_small_cells_are_left_out_and_counted():
    predicted, _, z = drawn()
    rare = torch.cat([z, torch.full((7,), K)])
    more = torch.cat([predicted, torch.zeros(7).long()])
    found = demographic_parity(more, rare, classes=C)
    assert found.interval == demographic_parity(predicted, z, classes=C).interval
    assert found.left_out == C
    assert demographic_parity(more, rare, classes=C, least=7).fewest == 7


@pytest.mark.parametrize("z", [torch.full((N,), -1), torch.zeros(N).long()])
def test_without_two_groups_there_is_no_gap(z):
    predicted, y, _ = drawn()
    assert demographic_parity(predicted, z, classes=C) is None
    assert equalised_odds(predicted, y, z, classes=C) is None


def test_missing_groups_have_no_part():
    predicted, y, z = drawn()
    seen = torch.arange(N) % 5 > 0
    some = torch.where(seen, z, -1)
    assert equalised_odds(predicted, y, some, classes=C) == equalised_odds(
        predicted[seen], y[seen], z[seen], classes=C
    )
    assert worst(predicted == y, some) == worst((predicted == y)[seen], z[seen])


def test_the_worst_group_has_the_lowest_share_of_right_answers():
    predicted, y, z = drawn()
    right = (predicted == y) & ~((z == 1) & (torch.arange(N) % 3 == 0))
    found = worst(right, z)
    assert found.group == 1
    assert found.interval.value == pytest.approx(share(right[z == 1]))
    assert found.fewest == z.bincount().min()


def test_the_worst_of_one_group_has_the_exact_interval():
    right = torch.arange(90) % 9 > 0
    found = worst(right, torch.zeros(90).long())
    assert found.interval == clopper_pearson(80, 90)


def test_the_worst_of_equal_groups_is_covered_although_it_was_chosen():
    held = 0
    for seed in range(60):
        right = torch.rand(400, generator=torch.Generator().manual_seed(seed)) < 0.7
        found = worst(right, torch.arange(400) % 8).interval
        held += found.low <= 0.7 <= found.high
    assert held >= 55


def test_where_no_group_is_large_enough_none_is_the_worst():
    assert worst(torch.ones(29).bool(), torch.zeros(29).long()) is None
    assert worst(torch.ones(3).bool(), torch.full((3,), -1)) is None
    found = worst(torch.arange(64) % 2 > 0, (torch.arange(64) > 60).long())
    assert (found.group, found.left_out) == (0, 1)
