"""How much Gaussian noise hides a step.

The first answer is the one that certifies strongly convex models (Sekhari, Acharya, Kamath and
Suresh, Remember What You Want to Forget, 2021); for a deep network it is a rule of thumb. The
second holds wherever the sensitivity is known (Balle and Wang, Improving the Gaussian Mechanism
for Differential Privacy, 2018).
"""

import secrets
from math import exp, expm1, log, sqrt

import numpy as np
import torch
from scipy import special
from torch import Tensor

from expunge.errors import BadSetting

_CLOSE = 1e-12  # relative width at which the search for a deviation ends


def newton_shift(*, n: int, m: int, l2: float, lipschitz: float, hessian_lipschitz: float) -> float:
    """How far one Newton step for ``m`` of ``n`` samples may end from the retrained optimum.

    That is 2·M·L²·m² / (n²λ³), where the loss of a sample is L-Lipschitz, its Hessian M-Lipschitz
    and the penalty λ/2 of the squared length makes the objective strongly convex.
    """
    return 2 * hessian_lipschitz * lipschitz**2 * m**2 / (n**2 * l2**3)


def heuristic_sigma(  # noqa: PLR0913 - the letters of one formula
    *,
    epsilon: float,
    delta: float,
    n: int,
    m: int = 1,
    l2: float,
    lipschitz: float = 1.0,
    hessian_lipschitz: float = 0.25,
) -> float:
    """Deviation that hides one Newton step for ``m`` of ``n`` samples, as published.

    For a network, whose loss is not convex, no promise follows from this number.
    """
    _check(epsilon, delta)
    apart = newton_shift(n=n, m=m, l2=l2, lipschitz=lipschitz, hessian_lipschitz=hessian_lipschitz)
    return apart / epsilon * sqrt(2 * log(1.25 / delta))


def analytic_sigma(sensitivity: float, *, epsilon: float, delta: float) -> float:
    """The smallest deviation with which Gaussian noise is (ε, δ)-private at this sensitivity."""
    _check(epsilon, delta)
    low = high = 1.0
    while _leaked(high, epsilon) > delta:
        high *= 2
    while _leaked(low, epsilon) <= delta:
        low /= 2
    while high > low * (1 + _CLOSE):
        middle = sqrt(low * high)
        low, high = (middle, high) if _leaked(middle, epsilon) > delta else (low, middle)
    return sensitivity * high


def secret_normal(like: Tensor) -> Tensor:
    """Standard normal numbers, as many as those of a tensor, that nobody can draw again.

    The seed of a run is on record, and torch's generator takes 32 bits of any seed: noise from
    either could be found by trying, and taken off.
    """
    source = np.random.default_rng(secrets.randbits(256))
    return torch.from_numpy(source.standard_normal(like.shape)).to(like)


def _leaked(sigma: float, epsilon: float) -> float:
    """The exact δ at unit sensitivity: Φ(1/2s - εs) - exp(ε)·Φ(-1/2s - εs), s for sigma."""
    above = float(special.log_ndtr(0.5 / sigma - epsilon * sigma))
    below = float(special.log_ndtr(-0.5 / sigma - epsilon * sigma))
    return -exp(above) * expm1(epsilon + below - above)  # exp(ε) alone would overflow


def _check(epsilon: float, delta: float) -> None:
    if epsilon > 0 and 0 < delta < 1:
        return
    raise BadSetting(
        f"no noise gives epsilon={epsilon} and delta={delta}",
        hint="epsilon must be above 0, and delta between 0 and 1.",
    )
