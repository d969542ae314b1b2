"""How much Gaussian noise hides a step, and noise that nobody can draw again.

The answer is the one that certifies strongly convex models (Sekhari, Acharya, Kamath and Suresh,
Remember What You Want to Forget, 2021); for a deep network it is a rule of thumb. Where the
sensitivity is known, `gaussian` has a better one.
"""

import secrets
from math import log, sqrt

import numpy as np
import torch
from torch import Tensor

from expunge.algebra.gaussian import check


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
    check(epsilon, delta)
    apart = newton_shift(n=n, m=m, l2=l2, lipschitz=lipschitz, hessian_lipschitz=hessian_lipschitz)
    return apart / epsilon * sqrt(2 * log(1.25 / delta))


def secret_normal(like: Tensor) -> Tensor:
    """Standard normal numbers, as many as those of a tensor, that nobody can draw again.

    The seed of a run is on record, and torch's generator takes 32 bits of any seed: noise from
    either could be found by trying, and taken off.
    """
    source = np.random.default_rng(secrets.randbits(256))
    return torch.from_numpy(source.standard_normal(like.shape)).to(like)
