"""Gaussian noise against the inequality it solves, the divergence itself, and accountants."""

from math import exp, inf, log, sqrt

import pytest
from scipy import integrate
from scipy.stats import norm

from expunge.algebra.gaussian import analytic_delta, analytic_epsilon, analytic_sigma
from expunge.errors import BadSetting

PAIRS = [(0.1, 1e-5), (0.9, 1e-2), (1.0, 1e-5), (5.0, 1e-8), (20.0, 0.3)]


def leaked(sigma, epsilon):
    """The exact delta of unit sensitivity, as it is written in the paper."""
    above, below = 0.5 / sigma - epsilon * sigma, -0.5 / sigma - epsilon * sigma
    return norm.cdf(above) - exp(epsilon) * norm.cdf(below)


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


@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_impossible_deltas_are_refused(delta):
    with pytest.raises(BadSetting, match="delta between 0 and 1"):
        analytic_epsilon(1.0, delta=delta)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize(("sigma", "apart"), [(0.7, 1.0), (2.0, 1.5)])
def test_delta_is_the_mass_by_which_one_distribution_exceeds_the_other(epsilon, sigma, apart):
    def excess(x):
        return max(0.0, norm.pdf(x, apart, sigma) - exp(epsilon) * norm.pdf(x, 0, sigma))

    begins = apart / 2 + epsilon * sigma**2 / apart
    mass, _ = integrate.quad(excess, begins, begins + 40, epsabs=1e-13, limit=200)
    found = analytic_delta(sigma, epsilon=epsilon, sensitivity=apart)
    assert found == pytest.approx(mass, rel=1e-7, abs=1e-11)


@pytest.mark.parametrize(
    ("sigma", "delta", "epsilon"),
    [
        (3.73063, 1e-5, 1.0000005),
        (0.8919, 1e-5, 4.999792),
        (2.0, 1e-6, 2.254085),
        (0.5, 1e-3, 7.58128),
    ],
)
def test_epsilon_agrees_with_a_privacy_accountant(sigma, delta, epsilon):
    """Worked by privacy loss distributions of dp-accounting 0.6.0, in steps of 1e-4."""
    assert analytic_epsilon(sigma, delta=delta) == pytest.approx(epsilon, abs=3e-6)


def test_the_classical_deviation_leaks_more_than_it_says_at_a_large_epsilon():
    classical = sqrt(2 * log(1.25 / 1e-5)) / 20
    assert analytic_delta(classical, epsilon=20.0) == pytest.approx(1.5e-3, rel=0.05)


@pytest.mark.parametrize(("epsilon", "delta"), PAIRS)
@pytest.mark.parametrize("apart", [0.01, 1.0, 30.0])
def test_any_one_follows_from_the_other_two(epsilon, delta, apart):
    sigma = analytic_sigma(apart, epsilon=epsilon, delta=delta)
    found = analytic_delta(sigma, epsilon=epsilon, sensitivity=apart)
    assert found == pytest.approx(delta, rel=1e-6)
    back = analytic_epsilon(sigma, delta=delta, sensitivity=apart)
    assert back == pytest.approx(epsilon, rel=1e-6)


def test_no_noise_hides_nothing_and_no_distance_needs_none():
    assert analytic_delta(0.0, epsilon=3.0) == 1
    assert analytic_epsilon(0.0, delta=1e-5) == inf
    assert analytic_delta(0.0, epsilon=0.0, sensitivity=0.0) == 0
    assert analytic_epsilon(0.0, delta=1e-5, sensitivity=0.0) == 0
    assert analytic_epsilon(1e6, delta=1e-5) == 0


def test_hardly_any_noise_has_a_huge_but_finite_epsilon():
    assert analytic_epsilon(1e-4, delta=1e-5) == pytest.approx(1e8 / 2, rel=1e-2)
