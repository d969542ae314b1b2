"""Intervals, Holm's rule and divergences, against tables and values worked by hand."""

from math import log

import pytest
import torch
from scipy import stats

from expunge.algebra.statistics import (
    Interval,
    benjamini_hochberg,
    clopper_pearson,
    holm,
    js_bits,
    kl,
    largest_interval,
    mean_interval,
    minus,
)


def test_five_of_five_hundred_have_the_exact_interval_of_the_tables():
    found = clopper_pearson(5, 500)
    assert found.value == 0.01
    assert found.low == pytest.approx(0.003255, abs=1e-6)
    assert found.high == pytest.approx(0.023181, abs=1e-6)


@pytest.mark.parametrize(("n", "upper"), [(59, 0.0495), (299, 0.00997), (2995, 0.001)])
def test_nothing_seen_in_n_trials_bounds_the_rate_by_three_over_n(n, upper):
    found = clopper_pearson(0, n, level=0.90)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(upper, rel=5e-3)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)


@pytest.mark.parametrize("n", [1, 7, 60])
def test_all_and_none_are_mirror_images(n):
    none, every = clopper_pearson(0, n), clopper_pearson(n, n)
    assert (every.value, every.high) == (1, 1)
    assert every.low == pytest.approx(1 - none.high, abs=1e-12)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / n), rel=1e-9)


@pytest.mark.parametrize(("k", "n"), [(1, 9), (4, 9), (30, 200)])
def test_the_ends_of_an_exact_interval_are_the_rates_at_which_the_count_is_a_surprise(k, n):
    found = clopper_pearson(k, n)
    assert stats.binom.sf(k - 1, n, found.low) == pytest.approx(0.025, rel=1e-6)
    assert stats.binom.cdf(k, n, found.high) == pytest.approx(0.025, rel=1e-6)


def test_the_mean_of_zeros_and_ones_has_the_exact_interval():
    hits = torch.tensor([1.0] * 5 + [0.0] * 495)
    assert mean_interval(hits) == clopper_pearson(5, 500)


def test_the_mean_of_numbers_has_students_interval():
    values = torch.tensor([0.2, 1.4, 3.1, 2.2, 0.9], dtype=torch.double)
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((1.56, low, high))


def test_one_number_says_nothing_about_its_mean():
    found = mean_interval(torch.tensor([0.4]))
    assert (found.low, found.high) == (-torch.inf, torch.inf)


def test_holm_adjusts_the_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [([], []), ([0.03], [0.03]), ([0.6, 0.7], [1, 1]), ([0.02, 0.02, 0.02], [0.06] * 3)],
)
def test_holm_never_exceeds_one_and_treats_equals_alike(given, adjusted):
    assert holm(given) == pytest.approx(adjusted)


def test_holm_keeps_the_order_and_lies_between_the_raw_values_and_bonferroni():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        raw = torch.rand(7, generator=generator, dtype=torch.double).pow(2).tolist()
        found = holm(raw)
        order = sorted(range(7), key=lambda i: raw[i])
        assert [found[i] for i in order] == sorted(found)
        assert all(p <= q <= min(1, 7 * p) + 1e-15 for p, q in zip(raw, found, strict=True))


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_false_discoveries_are_controlled_as_scipy_does(n):
    generator = torch.Generator().manual_seed(n)
    raw = torch.rand(n, generator=generator, dtype=torch.double).pow(3).tolist()
    wanted = stats.false_discovery_control(raw).tolist()
    assert benjamini_hochberg(raw) == pytest.approx(wanted)
    assert all(q <= h + 1e-15 for q, h in zip(benjamini_hochberg(raw), holm(raw), strict=True))
    assert benjamini_hochberg([]) == []


def test_the_interval_of_a_difference_is_newcombes_worked_example():
    """56 of 70 against 48 of 80, with score intervals: 0.0524 to 0.3339 (Newcombe, 1998)."""
    of = [stats.binomtest(k, n).proportion_ci(method="wilson") for k, n in ((56, 70), (48, 80))]
    own, theirs = (Interval(v, ci.low, ci.high) for v, ci in zip((0.8, 0.6), of, strict=True))
    found = minus(own, theirs)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_disjoint_answers_differ_by_one_bit_and_equal_ones_by_none():
    p = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    q = torch.tensor([[0, 0, 1.0], [0, 0, 1.0], [0.2, 0.3, 0.5]])
    assert js_bits(p, q).tolist() == pytest.approx([1, 1, 0], abs=1e-12)
    assert kl(p, p).tolist() == [0, 0, 0]


def test_one_sure_answer_differs_from_ignorance_by_the_worked_value():
    sure, ignorant = torch.zeros(1, 10), torch.full((1, 10), 0.1)
    sure[0, 4] = 1
    assert js_bits(sure, ignorant).item() == pytest.approx(0.758277, abs=5e-7)
    assert js_bits(ignorant, sure).item() == pytest.approx(0.758277, abs=5e-7)
    assert kl(sure, ignorant).item() == pytest.approx(log(10), rel=1e-6)


def test_kl_is_scipys_and_is_not_symmetric():
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(6, 4, generator=generator, dtype=torch.double).softmax(1)
    q = torch.rand(6, 4, generator=generator, dtype=torch.double).softmax(1)
    wanted = stats.entropy(p.numpy(), q.numpy(), axis=1)
    assert kl(p, q).tolist() == pytest.approx(wanted.tolist(), rel=1e-9)
    assert not torch.allclose(kl(p, q), kl(q, p))


def test_an_answer_that_was_thought_impossible_is_far_but_finite():
    found = kl(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
    assert 100 < found.item() < torch.inf


@pytest.mark.parametrize("n", [60, 310])
def test_the_mean_of_the_largest_tenth_lies_in_its_interval_nearly_as_often_as_promised(n):
    true = stats.norm.pdf(stats.norm.ppf(0.9)) / 0.1
    draw = torch.Generator().manual_seed(0)
    found = [largest_interval(torch.randn(n, generator=draw), 0.1) for _ in range(400)]
    assert sum(each.low <= true <= each.high for each in found) / 400 > 0.88


def test_the_largest_of_all_are_all_and_a_single_one_says_nothing():
    some = torch.tensor([4.0, -1.0, 2.5, 7.0, 0.0])
    assert largest_interval(some, 1.0) == mean_interval(some)
    alone = largest_interval(some, 0.1)
    assert (alone.value, alone.low, alone.high) == (7.0, -torch.inf, torch.inf)
