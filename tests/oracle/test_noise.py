"""Noise against the numbers of the published scripts, and against the inequality it solves."""

from math import exp, log, sqrt

import pytest
from scipy.stats import norm

from expunge.algebra.noise import analytic_sigma, heuristic_sigma
from expunge.errors import BadSetting

PAIRS = [(0.1, 1e-5), (0.9, 1e-2), (1.0, 1e-5), (5.0, 1e-8), (20.0, 0.3)]


def leaked(sigma, epsilon):
    """The exact delta of unit sensitivity, as it is written in the paper."""
    above, below = 0.5 / sigma - epsilon * sigma, -0.5 / sigma - epsilon * sigma
    return norm.cdf(above) - exp(epsilon) * norm.cdf(below)


@pytest.mark.parametrize(
    ("n", "l2", "epsilon", "sigma"),
    [
        (50_000, 0.01, 0.1, 0.0062),
        (50_000, 0.001, 0.1, 6.2),
        (982_803, 0.01, 1e-4, 0.016),
        (29_419, 0.01, 5e-4, 3.6),
    ],
)
def test_the_rule_of_thumb_gives_the_deviations_of_the_published_scripts(n, l2, epsilon, sigma):
    found = heuristic_sigma(epsilon=epsilon, delta=0.01, n=n, l2=l2)
    assert found == pytest.approx(sigma, rel=0.02)


def test_the_rule_of_thumb_is_its_formula():
    given = {"n": 700, "m": 3, "l2": 0.2, "lipschitz": 1.5, "hessian_lipschitz": 0.7}
    apart = 2 * 0.7 * 1.5**2 * 3**2 / (700**2 * 0.2**3)
    wanted = apart / 0.4 * sqrt(2 * log(1.25 / 0.05))
    assert heuristic_sigma(epsilon=0.4, delta=0.05, **given) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("epsilon", "delta"), PAIRS)
def test_the_analytic_deviation_is_enough_and_hardly_less_is_not(epsilon, delta):
    sigma = analytic_sigma(1.0, epsilon=epsilon, delta=delta)
    assert leaked(sigma, epsilon) <= delta * (1 + 1e-9)
    assert leaked(sigma * 0.999, epsilon) > delta


@pytest.mark.parametrize(("epsilon", "sigma"), [(0.1, 30.75), (1.0, 3.73063), (5.0, 0.8919)])
def test_the_analytic_deviation_agrees_with_privacy_accountants(epsilon, sigma):
    assert analytic_sigma(1.0, epsilon=epsilon, delta=1e-5) == pytest.approx(sigma, rel=1e-4)


@pytest.mark.parametrize(("epsilon", "delta"), PAIRS[:2])
def test_the_analytic_deviation_is_smaller_than_the_classical_one(epsilon, delta):
    classical = sqrt(2 * log(1.25 / delta)) / epsilon
    assert analytic_sigma(1.0, epsilon=epsilon, delta=delta) < 0.9 * classical


def test_the_analytic_deviation_grows_with_the_sensitivity():
    one = analytic_sigma(1.0, epsilon=0.5, delta=1e-3)
    assert analytic_sigma(2.5, epsilon=0.5, delta=1e-3) == pytest.approx(2.5 * one)
    assert analytic_sigma(0.0, epsilon=0.5, delta=1e-3) == 0


@pytest.mark.parametrize(("epsilon", "delta"), [(800.0, 1e-5), (1e-6, 1e-300), (3.0, 1 - 1e-12)])
def test_the_analytic_deviation_is_found_for_extreme_wishes_too(epsilon, delta):
    sigma = analytic_sigma(1.0, epsilon=epsilon, delta=delta)
    assert 1e-3 < sigma < 1e9


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.1), (-1.0, 0.1), (1.0, 0.0), (1.0, 1.0)])
def test_impossible_wishes_are_refused(epsilon, delta):
    with pytest.raises(BadSetting, match=f"epsilon={epsilon} and delta={delta}"):
        analytic_sigma(1.0, epsilon=epsilon, delta=delta)
    with pytest.raises(BadSetting, match="delta between 0 and 1"):
        heuristic_sigma(epsilon=epsilon, delta=delta, n=10, l2=0.1)
