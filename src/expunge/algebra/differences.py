"""How far a model is from retrained ones: differences, their intervals and p-values.

A candidate and its references differ by chance in two ways: sample by sample, and as whole
models. Both are seen here, and the wider interval of the two is taken. One reference cannot show
how much retraining varies, so with fewer than two there is no difference to speak of: None.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from expunge.algebra.statistics import (
    LEVEL,
    Interval,
    clopper_pearson,
    mean_interval,
    mean_variance,
    minus,
    newcombe,
    placements,
)

_FEW = 5  # samples of a side, of which fewer have no variance to speak of

Limit = Literal["samples", "models"]


class Difference(NamedTuple):
    """How far a number is from another, the p-value of their being equal, and what limits both."""

    interval: Interval
    p: float
    limit: Limit = "samples"


def auc_difference(
    candidate: tuple[Float[Tensor, " m"], Float[Tensor, " n"]],
    references: Sequence[tuple[Float[Tensor, " m"], Float[Tensor, " n"]]],
) -> Difference | None:
    """AUC of one model less the mean AUC of reference models on the same samples.

    Samples: DeLong's variance of the paired placements, with Welch's degrees of freedom; where
    fewer than five samples are on a side, which may be copies of each other, or the variance is
    zero, Newcombe's intervals of both AUCs, squared and added.
    """
    above, below = placements(*candidate)
    if len(references) < 2 or min(len(above), len(below)) < 2:
        return None
    pairs = [placements(*scores) for scores in references]
    apart_above = above - torch.stack([a for a, _ in pairs]).mean(0)
    apart_below = below - torch.stack([b for _, b in pairs]).mean(0)
    aucs = torch.stack([a.mean() for a, _ in pairs])
    of_members, of_others = mean_variance(apart_above), mean_variance(apart_below)
    if of_members + of_others == 0 or min(len(above), len(below)) < _FEW:
        own, theirs = (
            Interval(x, *newcombe(x, len(above), len(below)))
            for x in (above.mean().item(), aucs.mean().item())
        )
        by_samples = _square_and_add(own, theirs)
    else:
        freedom = (of_members + of_others) ** 2 / (
            of_members**2 / (len(above) - 1) + of_others**2 / (len(below) - 1)
        )
        error = (of_members + of_others) ** 0.5
        by_samples = _student(apart_above.mean().item(), error, freedom, "samples")
    return _possible(_wider(by_samples, aucs))


def rate_difference(
    candidate: Float[Tensor, " n"], references: Sequence[Float[Tensor, " n"]]
) -> Difference | None:
    """Mean of one model's hits less the references' mean, with a square-and-add interval.

    Each rate brings its own interval, so that no width is zero where all are right or all wrong.
    """
    if len(references) < 2:
        return None
    means = torch.stack([hits.double().mean() for hits in references])
    rate, n = means.mean().item(), len(candidate)
    exact = clopper_pearson(round(rate * n), n)
    theirs = Interval(rate, min(rate, exact.low), max(rate, exact.high))
    return _possible(_wider(_square_and_add(mean_interval(candidate), theirs), means))


def mean_difference(
    candidate: Float[Tensor, " n"], references: Sequence[Float[Tensor, " n"]]
) -> Difference | None:
    """Mean of one model's values less the references' mean, paired sample by sample."""
    if len(references) < 2 or len(candidate) < 2:
        return None
    apart = candidate.double() - torch.stack([*references]).double().mean(0)
    means = torch.stack([values.double().mean() for values in references])
    error = mean_variance(apart) ** 0.5
    by_samples = _student(apart.mean().item(), error, float(len(apart) - 1), "samples")
    return _wider(by_samples, means)


def model_difference(
    candidate: Float[Tensor, " r"], references: Sequence[Float[Tensor, " r"]]
) -> Difference | None:
    """Mean over one model's repetitions less the references' mean, with models as the unit.

    Repetitions on one model are no other models: they steady its mean, and that of every
    reference as much, so that the spread between references' means holds all of the chance. Where
    these do not differ at all, as where something was never seen to end, their spread is not known.
    """
    if len(references) < 2:
        return None
    means = torch.stack([values.double().mean() for values in references])
    if means.std().item() == 0:
        return None
    return _by_models(candidate.double().mean().item() - means.mean().item(), means)


def group_difference(
    candidates: Float[Tensor, " k"], references: Float[Tensor, " r"]
) -> Difference | None:
    """Mean over several models less the mean over reference models: Welch's test."""
    if min(len(candidates), len(references)) < 2:
        return None
    own, theirs = mean_variance(candidates.double()), mean_variance(references.double())
    value = candidates.double().mean().item() - references.double().mean().item()
    if own + theirs == 0:
        return _student(value, 0.0, 1.0, "models")
    freedom = (own + theirs) ** 2 / (
        own**2 / (len(candidates) - 1) + theirs**2 / (len(references) - 1)
    )
    return _student(value, (own + theirs) ** 0.5, freedom, "models")


def _wider(by_samples: Difference, models: Float[Tensor, " k"]) -> Difference:
    """The wider interval: by samples, or by how much whole retrained models differ."""
    by_models = _by_models(by_samples.interval.value, models)
    return max(by_samples, by_models, key=lambda found: found.interval.high - found.interval.low)


def _by_models(value: float, models: Float[Tensor, " k"]) -> Difference:
    """How far one more model of the same kind could lie from the mean of these."""
    error = models.std().item() * (1 + 1 / len(models)) ** 0.5
    return _student(value, error, float(len(models) - 1), "models")


def _possible(found: Difference) -> Difference:
    """Two shares cannot differ by more than one."""
    value, low, high = found.interval.value, found.interval.low, found.interval.high
    return found._replace(interval=Interval(value, max(-1.0, low), min(1.0, high)))


def _student(value: float, error: float, freedom: float, limit: Limit) -> Difference:
    if error == 0:
        return Difference(Interval(value, value, value), 1.0 if value == 0 else 0.0, limit)
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return Difference(Interval(value, value - half, value + half), p, limit)


def _square_and_add(own: Interval, theirs: Interval) -> Difference:
    """Newcombe's interval of a difference, and the p-value that goes with it."""
    found = minus(own, theirs)
    value = found.value
    towards_zero = value - found.low if value > 0 else found.high - value
    z = float(stats.norm.ppf((1 + LEVEL) / 2)) * abs(value) / towards_zero if value else 0.0
    return Difference(found, 2 * float(stats.norm.sf(z)))
