"""Intervals, ROC, AUC, exact tests and divergences. Scores are compared in double precision."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, hypot

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from expunge.algebra.searching import edge

LEVEL = 0.95
_SMALL = 20  # members: below this DeLong's variance is too noisy to be believed


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def clopper_pearson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Exact interval of a proportion."""
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, successes, n - successes + 1) if successes > 0 else 0.0
    high = stats.beta.ppf(1 - tail, successes + 1, n - successes) if successes < n else 1.0
    return Interval(successes / n, float(low), float(high))


def minus(own: Interval, theirs: Interval) -> Interval:
    """Newcombe's square-and-add interval of a difference, from those of its two parts."""
    value = own.value - theirs.value
    down = hypot(own.value - own.low, theirs.high - theirs.value)
    up = hypot(own.high - own.value, theirs.value - theirs.low)
    return Interval(value, value - down, value + up)


def mean_interval(values: Float[Tensor, " n"], level: float = LEVEL) -> Interval:
    """Mean of independent values with Student's interval; exact where all are zero or one."""
    values = values.double()
    if bool(((values == 0) | (values == 1)).all()):
        return clopper_pearson(int(values.sum()), len(values), level)
    mean, n = values.mean().item(), len(values)
    if n < 2:
        return Interval(mean, -torch.inf, torch.inf)
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * values.std().item() / n**0.5
    return Interval(mean, mean - half, mean + half)


def largest_interval(values: Float[Tensor, " n"], share: float) -> Interval:
    """Mean of the largest of independent values, such a share of them, with Student's interval.

    Which values are the largest varies as well: beside their variance counts how far their mean is
    from the least of them.
    """
    n, count = len(values), max(1, ceil(share * len(values)))
    largest = values.double().topk(count).values
    mean = largest.mean().item()
    if count < 2:
        return Interval(mean, -torch.inf, torch.inf)
    chosen = (1 - count / n) * (mean - largest[-1].item()) ** 2
    error = ((largest.var().item() + chosen) / count) ** 0.5
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Interval(mean, mean - half, mean + half)


def auc(member: Float[Tensor, " m"], nonmember: Float[Tensor, " n"]) -> Interval:
    """Probability that a member scores above a non-member, ties counting half.

    DeLong's interval; Newcombe's score interval for few samples or perfect separation, where
    DeLong's variance would be noisy or zero.
    """
    above, below = placements(member, nonmember)
    value = above.mean().item()
    variance = mean_variance(above) + mean_variance(below)
    if min(len(above), len(below)) < _SMALL or variance == 0:
        return Interval(value, *newcombe(value, len(above), len(below)))
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * variance**0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def placements(
    member: Float[Tensor, " m"], nonmember: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " n"]]:
    """DeLong's components: the share of the other group that every sample beats (or loses to)."""
    x, y = member.double().numpy(), nonmember.double().numpy()
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("scores must be finite")
    m, n = len(x), len(y)
    ranks = stats.rankdata(np.concatenate([x, y]))
    above = (ranks[:m] - stats.rankdata(x)) / n
    below = 1 - (ranks[m:] - stats.rankdata(y)) / m
    return torch.from_numpy(above), torch.from_numpy(below)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: of those below q, a share of q is false on average."""
    order = sorted(range(len(p_values)), key=lambda i: -p_values[i])
    adjusted, ceiling = [0.0] * len(p_values), 1.0
    for above, i in enumerate(order):
        ceiling = min(ceiling, len(p_values) / (len(p_values) - above) * p_values[i])
        adjusted[i] = ceiling
    return adjusted


def roc(
    member: Float[Tensor, " m"], nonmember: Float[Tensor, " n"]
) -> tuple[list[float], list[float]]:
    """False and true positive rates at every threshold, from none caught to all."""
    thresholds = torch.cat([member, nonmember]).double().unique().flip(0)
    x, y = member.double().sort().values, nonmember.double().sort().values
    fpr = 1 - torch.searchsorted(y, thresholds).double() / len(y)
    tpr = 1 - torch.searchsorted(x, thresholds).double() / len(x)
    return [0.0, *fpr.tolist()], [0.0, *tpr.tolist()]


def kl(p: Float[Tensor, "n c"], q: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """Kullback-Leibler divergence of every row of ``q`` from ``p``, in nats."""
    p, q = p.double(), q.double().clamp_min(1e-300)
    return torch.where(p > 0, p * (p.clamp_min(1e-300) / q).log(), 0.0).sum(1)


def js_bits(p: Float[Tensor, "n c"], q: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """Jensen-Shannon divergence of every two rows, in bits: between 0 and 1."""
    middle = (p.double() + q.double()) / 2
    return (kl(p, middle) + kl(q, middle)) / (2 * torch.tensor(2.0, dtype=torch.double).log())


def mean_variance(components: Tensor) -> float:
    """Variance of the mean of independent values; zero where there is one."""
    return components.var().item() / len(components) if len(components) > 1 else 0.0


def newcombe(value: float, m: int, n: int) -> tuple[float, float]:
    """Newcombe (2006), method 5: the AUCs whose own standard error would reach ``value``."""
    z, extra = float(stats.norm.ppf((1 + LEVEL) / 2)), (m + n) / 2 - 1

    def reached(theta: float) -> bool:
        spread = theta * (1 - theta) / (m * n)
        spread *= 1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return bool(abs(theta - value) <= z * spread**0.5)

    return edge(reached, value, 0.0), edge(reached, value, 1.0)
