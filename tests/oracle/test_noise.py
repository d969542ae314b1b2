"""Noise of the rule of thumb against the numbers of the published scripts."""

from math import log, sqrt

import pytest

from expunge.algebra.noise import heuristic_sigma
from expunge.errors import BadSetting


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


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.1), (-1.0, 0.1), (1.0, 0.0), (1.0, 1.0)])
def test_impossible_wishes_are_refused(epsilon, delta):
    with pytest.raises(BadSetting, match="delta between 0 and 1"):
        heuristic_sigma(epsilon=epsilon, delta=delta, n=10, l2=0.1)
