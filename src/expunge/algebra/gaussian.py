"""What Gaussian noise promises: ε, δ and deviation, any one from the other two, exactly.

After Balle and Wang, Improving the Gaussian Mechanism for Differential Privacy, 2018. The classical
formula for the deviation needs more noise, and above ε = 1 it promises what does not hold.
"""

from math import exp, expm1, inf, sqrt

from scipy import special

from expunge.algebra.searching import edge
from expunge.errors import BadSetting

_CLOSE = 1e-12  # relative width at which the search for a deviation ends


def analytic_delta(sigma: float, *, epsilon: float, sensitivity: float = 1.0) -> float:
    """The smallest δ: Φ(D/2s - εs/D) - exp(ε)·Φ(-D/2s - εs/D), for a deviation s and distance D."""
    if sensitivity == 0:
        return 0.0
    if sigma == 0:
        return 1.0
    far = sensitivity / sigma
    above = float(special.log_ndtr(far / 2 - epsilon / far))
    below = float(special.log_ndtr(-far / 2 - epsilon / far))
    return -exp(above) * expm1(min(0.0, epsilon + below - above))  # exp(ε) alone would overflow


def analytic_sigma(sensitivity: float, *, epsilon: float, delta: float) -> float:
    """The smallest deviation with which Gaussian noise is (ε, δ)-private at this sensitivity."""
    check(epsilon, delta)
    low = high = 1.0
    while analytic_delta(high, epsilon=epsilon) > delta:
        high *= 2
    while analytic_delta(low, epsilon=epsilon) <= delta:
        low /= 2
    while high > low * (1 + _CLOSE):
        middle = sqrt(low * high)
        leaks = analytic_delta(middle, epsilon=epsilon) > delta
        low, high = (middle, high) if leaks else (low, middle)
    return sensitivity * high


def analytic_epsilon(sigma: float, *, delta: float, sensitivity: float = 1.0) -> float:
    """The smallest ε with which noise of a deviation is (ε, δ)-private; without noise none is."""
    check(1.0, delta)

    def holds(epsilon: float) -> bool:
        return analytic_delta(sigma, epsilon=epsilon, sensitivity=sensitivity) <= delta

    if holds(0.0):
        return 0.0
    if sigma == 0:
        return inf
    high = 1.0
    while not holds(high):
        high *= 2
    return edge(holds, high, 0.0)


def check(epsilon: float, delta: float) -> None:
    """Refuse what no noise can promise."""
    if epsilon > 0 and 0 < delta < 1:
        return
    raise BadSetting(
        f"no noise gives epsilon={epsilon} and delta={delta}",
        hint="epsilon must be above 0, and delta between 0 and 1.",
    )
