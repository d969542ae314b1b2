"""How confident a model is of a record, for how confident models are of it in general.

After Zarifzadeh, Liu and Shokri, Low-Cost High-Power Membership Inference Attacks, 2024 (RMIA). All
scores here are confidences, the probabilities of the record's own label. A ratio is turned into the
share of population points that have a lower one; no model may have been trained with those. What
that adds is a scale: a record that is no member, and cannot be told from the population, beats a
share b of it or more with probability 1 - b, so that a threshold needs no labels. It holds where
the ratios of both are made alike, which is offline.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expunge.algebra.sides import masked_mean
from expunge.algebra.statistics import placements

_GRID = tuple(step / 10 for step in range(11))


def online_ratio(
    scores: Float[Tensor, "k n"], trained: Bool[Tensor, "k n"], target: Float[Tensor, "*t n"]
) -> Float[Tensor, "*t n"]:
    """Compare with models that were trained with the record and models that were not, in halves.

    A record that has one of the two only, as a population point has, is compared with that.
    """
    sides = [_or(scores, trained, ~trained), _or(scores, ~trained, trained)]
    return _over(target, (sides[0] + sides[1]) / 2)


def offline_ratio(
    scores: Float[Tensor, "k n"],
    trained: Bool[Tensor, "k n"],
    target: Float[Tensor, "*t n"],
    *,
    a: float,
) -> Float[Tensor, "*t n"]:
    """Compare with models that were not trained with the record, and guess what others would say.

    With the record a model is thought to come closer to certainty: ``a`` times the doubt is left.
    """
    without = masked_mean(scores.double(), ~trained)
    return _over(target, ((1 + a) * without + 1 - a) / 2)


def beaten(
    x: Float[Tensor, "*t n"], z: Float[Tensor, " m"], *, gamma: float = 1.0
) -> Float[Tensor, "*t n"]:
    """The share of population ratios that a record's ratio exceeds ``gamma`` times, or equals."""
    lines = (gamma * z.double()).sort().values
    return torch.searchsorted(lines, x.double(), right=True).double() / len(z)


def calibrated(
    scores: Float[Tensor, "k n"], trained: Bool[Tensor, "k n"], *, most: int = 8
) -> float:
    """The ``a`` with which shadow models, taken for targets, are best told by all the others.

    The real target is not looked at. The first few shadow models are enough.
    """
    tried = [rows for rows in range(len(scores)) if 0 < int(trained[rows].sum()) < scores.shape[1]]
    if not tried or len(scores) < 2:
        raise ValueError("no shadow model was trained with a part of the records")
    return max(_GRID, key=lambda a: sum(_told(scores, trained, tried[:most], a)))


def _told(
    scores: Float[Tensor, "k n"], trained: Bool[Tensor, "k n"], tried: list[int], a: float
) -> Iterator[float]:
    """The AUC of each of some shadow models; to compare with a population would not change it."""
    for row in tried:
        rest = torch.arange(len(scores)) != row
        ratio = offline_ratio(scores[rest], trained[rest], scores[row], a=a)
        yield placements(ratio[trained[row]], ratio[~trained[row]])[0].mean().item()


def _or(
    scores: Float[Tensor, "k n"], on: Bool[Tensor, "k n"], other: Bool[Tensor, "k n"]
) -> Float[Tensor, " n"]:
    """The mean of one side, or of the other where that has nobody."""
    return masked_mean(scores.double(), torch.where(on.any(0), on, other))


def _over(target: Float[Tensor, "*t n"], general: Float[Tensor, " n"]) -> Float[Tensor, "*t n"]:
    return target.double() / general.clamp_min(torch.finfo(torch.double).tiny)
