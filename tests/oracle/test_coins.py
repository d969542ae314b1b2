"""Guesses of coins: worked values, plain sums, and how often bounds err where ε is known."""

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.algebra import coins


def drawn(seed, m):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, generator=generator).double(), torch.rand(m, generator=generator) < 0.5


def test_guesses_are_counted_one_by_one():
    scores, fell = drawn(0, 31)
    ranked = sorted(range(31), key=lambda j: scores[j])
    for made in (0, 2, 10, 30):
        ins, outs = ranked[31 - made // 2 :], ranked[: made // 2]
        wanted = sum(bool(fell[j]) for j in ins) + sum(not fell[j] for j in outs)
        assert coins.right(scores, fell, made) == wanted


def test_a_third_of_the_canaries_is_guessed_in_even_number():
    assert [coins.guesses(m) for m in (300, 299, 10, 4, 1000)] == [100, 100, 4, 2, 334]


def test_ties_do_not_look_at_the_coins():
    _, fell = drawn(1, 4000)
    found = coins.right(torch.zeros(4000), fell, 2000)
    assert 900 < found < 1100


@pytest.mark.parametrize("made", [5, 12, -2])
def test_impossible_numbers_of_guesses_are_refused(made):
    with pytest.raises(ValueError, match="half each way"):
        coins.right(*drawn(2, 10), made)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        coins.right(torch.tensor([1.0, torch.nan]), torch.tensor([True, False]), 2)


@pytest.mark.parametrize(
    ("made", "ceiling"),
    [(10, 1.05), (20, 1.82), (50, 2.78), (100, 3.49), (200, 4.19), (500, 5.11), (1000, 5.81)],
)
def test_perfect_guesses_reach_the_ceiling_of_their_number(made, ceiling):
    assert coins.epsilon(made, made) == pytest.approx(ceiling, abs=0.006)
    share = 0.05 ** (1 / made)
    assert coins.epsilon(made, made) == pytest.approx(log(share / (1 - share)))


@pytest.mark.parametrize(
    ("right", "made", "found"),
    [(60, 100, 0.0519), (75, 100, 0.7022), (180, 200, 1.7989), (550, 1000, 0.0942)],
)
def test_right_guesses_are_worth_the_worked_values(right, made, found):
    assert coins.epsilon(right, made) == pytest.approx(found, abs=6e-5)


@pytest.mark.parametrize(("delta", "found"), [(0, 1.6308), (1e-5, 1.6294), (1e-3, 1.4427)])
def test_a_delta_makes_right_guesses_worth_less(delta, found):
    bound = coins.epsilon(90, 100, delta=float(delta), canaries=300)
    assert bound == pytest.approx(found, abs=6e-5)


@pytest.mark.parametrize(("right", "made"), [(6, 10), (75, 100), (100, 100), (540, 1000)])
def test_the_closed_form_is_where_the_search_ends(right, made):
    searched = coins.epsilon(right, made, delta=1e-300, canaries=3 * made)
    assert searched == pytest.approx(coins.epsilon(right, made), abs=1e-6)


def test_the_surprise_is_the_sum_of_its_definition():
    r, v, m, eps, delta = 24, 17, 70, 0.4, 1e-3
    q = exp(eps) / (1 + exp(eps))

    def tail(k):
        return sum(stats.binom.pmf(i, r, q) for i in range(max(k, 0), r + 1))

    nearly = max((tail(v - i) - tail(v)) / i for i in range(1, m + 1))
    found = coins.surprise(v, r, epsilon=eps, delta=delta, canaries=m)
    assert found == pytest.approx(tail(v) + 2 * m * delta * nearly)
    assert coins.surprise(v, r, epsilon=eps) == pytest.approx(tail(v))


def test_no_more_than_half_right_is_worth_nothing():
    for right in range(0, 51, 10):
        assert coins.epsilon(right, 100) == 0
        assert coins.epsilon(right, 100, delta=1e-5, canaries=300) == 0
        assert coins.unlearning_epsilon(right, 100) == 0
    assert coins.epsilon(0, 0) == 0


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
@pytest.mark.parametrize("bound", [coins.epsilon, coins.unlearning_epsilon])
def test_more_right_guesses_are_never_worth_less(bound, delta):
    found = [bound(v, 40, delta=delta, canaries=120) for v in range(0, 41, 2)]
    assert all(a <= b for a, b in pairwise(found))
    assert found[-1] > found[15] > 0


def test_surprise_grows_with_epsilon_and_with_delta():
    for delta in (0.0, 1e-5, 1e-3, 1.6e-3):
        found = [
            coins.surprise(80, 100, epsilon=e / 10, delta=delta, canaries=300) for e in range(80)
        ]
        assert all(a <= b + 1e-15 for a, b in pairwise(found))
    assert coins.surprise(100, 100, epsilon=0.0, delta=1 / 600, canaries=300) == 1


@pytest.mark.parametrize("right", [75, 90, 100])
def test_unlearning_is_worth_half_of_privacy(right):
    half = coins.epsilon(right, 100) / 2
    assert coins.unlearning_epsilon(right, 100) == pytest.approx(half)
    assert 0 < coins.unlearning_epsilon(right, 100, delta=1e-4, canaries=300) < half


def test_a_delta_of_unlearning_is_worth_more_than_one_of_privacy():
    bound = coins.unlearning_epsilon(90, 100, delta=1e-4, canaries=300)
    both = (1 + exp(bound)) * 1e-4
    private = coins.epsilon(90, 100, delta=both, canaries=300)
    assert 2 * bound == pytest.approx(private, abs=1e-9)


def test_audits_that_guess_blindly_find_something_no_more_often_than_they_say():
    right = stats.binom.rvs(100, 0.5, size=1000, random_state=0)
    counts = [(int(v), int(n)) for v, n in zip(*np.unique(right, return_counts=True), strict=True)]
    found = sum(n for v, n in counts if coins.epsilon(v, 100) > 0)
    assert found <= 1000 * 0.05 + 3 * (1000 * 0.05 * 0.95) ** 0.5
    p = {v: coins.surprise(v, 100, epsilon=0.0) for v, _ in counts}
    wrong = sum(n for v, n in counts if coins.request_epsilon(p[v]) > 0)
    assert wrong <= 1000 * 0.05 + 3 * (1000 * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_the_bound_holds_for_coins_that_are_told_with_known_privacy(epsilon):
    """Each coin is told right with probability e^ε / (1 + e^ε): the worst there is at this ε."""
    m, made, audits = 300, 100, 1000
    generator = torch.Generator().manual_seed(3)
    fell = torch.rand(audits, m, generator=generator) < 0.5
    honest = torch.rand(audits, m, generator=generator) < exp(epsilon) / (1 + exp(epsilon))
    told = torch.where(honest, fell, ~fell).double()
    right = [coins.right(*each, made) for each in zip(told, fell, strict=True)]
    bounds = {v: coins.epsilon(v, made) for v in set(right)}
    held = sum(bounds[v] <= epsilon for v in right) / audits
    assert held >= 0.95 - 3 * (0.05 * 0.95 / audits) ** 0.5
    assert sum(bounds[v] > 0.2 * epsilon for v in right) > 0.5 * audits


@pytest.mark.parametrize("delta", [0.0, 0.01])
@pytest.mark.parametrize("epsilon", [0.2, 0.7, 2.0])
def test_the_bound_of_a_request_holds_for_the_worst_model_that_is_as_close(epsilon, delta):
    """It guesses well exp(ε) times as often as blind ones, and with chance δ knows all coins."""
    made = 400
    blind = [coins.surprise(v, made, epsilon=0.0) for v in range(made + 1)]
    alarms = [p for p in blind if coins.request_epsilon(p, delta=delta) > epsilon]
    wrong = exp(epsilon) * max(alarms) + delta
    assert 0.03 < wrong <= 0.05


def test_many_guesses_say_more_of_a_request_than_of_a_coin():
    p = coins.surprise(90, 100, epsilon=0.0)
    assert p == pytest.approx(stats.binomtest(90, 100, alternative="greater").pvalue)
    assert coins.request_epsilon(p) == pytest.approx(log(0.05 / p))
    assert coins.request_epsilon(p) > 30 * coins.unlearning_epsilon(90, 100)
    assert coins.request_epsilon(0.05) == pytest.approx(0, abs=1e-12)
    assert coins.request_epsilon(1e-6, delta=0.05) == 0
    assert 600 < coins.request_epsilon(0.0) < 700
