"""How far a run without the forget set can be, and how many steps bring it near.

All of it holds where every retained loss is μ-strongly convex and no step is longer than
2/(μ + L), L being its steepest curvature. r is the share of a batch that is forgotten, D how far
the mean gradients of what leaves and of what stays are apart.
"""

from collections.abc import Sequence
from math import log, prod, sqrt


def reach(*, share: float, spread: float, curvature: float) -> float:
    """The farthest that both runs can ever be apart: rD/μ."""
    return share * spread / curvature


def rate(
    lr: float, *, curvature: float, momentum: float = 0.0, dampening: float = 0.0,
    nesterov: bool = False,
) -> float:  # fmt: skip
    """What is left of a difference after one step, along a direction of this curvature.

    With momentum it is the spectral radius of the step, which holds on average over many of them.
    """
    pull = lr * curvature * (1 - dampening)
    trace = 1 + momentum - pull * (1 + nesterov * momentum)
    det = momentum * (1 - nesterov * pull)
    apart = trace**2 - 4 * det
    return sqrt(det) if apart < 0 else (abs(trace) + sqrt(apart)) / 2


def left(rates: Sequence[float], reach: float) -> float:
    """What is at most left, after these steps, of how far both runs were apart before them."""
    return prod(rates) * reach


def window(rates: Sequence[float], share: float) -> int | None:
    """How many of the last steps leave at most this share; None if all together leave more."""
    goal, depth = log(share), 0.0
    for count, factor in enumerate(reversed(rates), 1):
        if factor == 0:
            return count
        depth += log(factor)
        if depth <= goal:
            return count
    return None


def certificate(slope: float, curvature: float) -> float:
    """The farthest that the optimum can be from where the gradient has this length."""
    return slope / curvature
