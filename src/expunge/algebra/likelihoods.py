"""How much likelier a model's score of a record is if it was trained with the record.

Every record is judged by its own shadow models, some trained with it and some without: what is
easy for all models is no sign of membership. Each function returns one number a record, higher for
members.

With many shadow models, normal distributions of every record are best; with few, their variances
are noise, and one variance for all records is better (Carlini, Chien, Nasr, Song, Terzis and
Tramèr, Membership Inference Attacks From First Principles, 2022). `student_ratio` needs no such
choice: it learns from all records what means and variances to expect, and lets every record's own
scores correct that as far as they are many. With two to eight pairs of models it finds most.
"""

from math import log, pi, sqrt
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expunge.algebra.sides import Side, sides

Spread = Literal["record", "pooled"]
Tail = Literal["greater", "less", "two"]
Prior = Literal["record", "average"]

_FREEDOM = 6.0  # how many scores the expected variance is worth
_MOST = 0.999  # of a perfect correlation of both sides


def student_ratio(
    scores: Float[Tensor, "k n"],
    trained: Bool[Tensor, "k n"],
    target: Float[Tensor, "*t n"],
    *,
    prior: Prior = "record",
) -> Float[Tensor, "*t n"]:
    """Log-ratio of Student's predictive densities, under an empirical-Bayes normal-gamma prior.

    The prior mean is worth as many scores as the variance of models on one record holds variances
    between records. With "record" it is what the other side lets expect of the record, which with
    few models is much: what is hard without a record is rarely easy with it. With "average" it is
    the mean of all.
    """
    inside, outside = sides(scores, trained)
    common = _covariance(inside, outside) if prior == "record" else 0.0
    x = target.double()
    return _student(x, inside, outside, common) - _student(x, outside, inside, common)


def normal_ratio(
    scores: Float[Tensor, "k n"],
    trained: Bool[Tensor, "k n"],
    target: Float[Tensor, "*t n"],
    *,
    spread: Spread = "record",
) -> Float[Tensor, "*t n"]:
    """Log-ratio of normal densities (LiRA, online), with variances of records or of each side."""
    inside, outside = sides(scores, trained)
    return _normal(target.double(), inside, spread) - _normal(target.double(), outside, spread)


def standing(
    scores: Float[Tensor, "k n"],
    trained: Bool[Tensor, "k n"],
    target: Float[Tensor, "*t n"],
    *,
    tail: Tail = "greater",
    spread: Spread = "pooled",
) -> Float[Tensor, "*t n"]:
    """How many deviations a score lies from models without the record (LiRA, offline).

    Above them a record is still remembered, below them it was forgotten more than it could be
    unknown; "two" counts both. Models that were trained with a record are not asked. The normal
    distribution function would order records alike, but call all of the farthest one.
    """
    outside = Side.of(scores, ~trained)
    z = (target.double() - outside.mean) / _variance(outside, spread).sqrt()
    match tail:
        case "greater":
            return z
        case "less":
            return -z
        case "two":
            return z.abs()


def _student(
    x: Float[Tensor, "*t n"], side: Side, other: Side, common: float
) -> Float[Tensor, "*t n"]:
    # A record without models has a mean that says nothing: its slope or its weight is zero.
    told = other.count / (other.between * other.count + other.within) * common
    expected = side.grand + told * (other.mean - other.grand)
    worth = side.within / (side.between - told * common)
    weight, freedom = worth + side.count, _FREEDOM + side.count
    away, share = side.mean - expected, side.count / weight
    squares = _FREEDOM * side.within + side.squares + worth * share * away.square()
    variance = squares / freedom * (1 + 1 / weight)
    far = (x - expected - share * away).square() / (freedom * variance)
    height = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
    return height - (freedom * pi * variance).log() / 2 - (freedom + 1) / 2 * torch.log1p(far)


def _covariance(inside: Side, outside: Side) -> float:
    """How records that are easy with them are easy without; noise of models adds nothing to it."""
    both = (inside.count > 0) & (outside.count > 0)
    if not both.any():
        return 0.0
    a, b = inside.mean[both], outside.mean[both]
    found = ((a - a.mean()) * (b - b.mean())).mean().item()
    most = _MOST * sqrt(inside.between * outside.between)
    return max(-most, min(most, found))


def _normal(x: Float[Tensor, "*t n"], side: Side, spread: Spread) -> Float[Tensor, "*t n"]:
    variance = _variance(side, spread)
    return -((x - side.mean).square() / variance + variance.log() + log(2 * pi)) / 2


def _variance(side: Side, spread: Spread) -> Float[Tensor, " n"]:
    """A record with one model has no variance of its own: it takes that of all."""
    pooled = torch.full_like(side.mean, side.within)
    if spread == "pooled":
        return pooled
    own = (side.squares / side.count.clamp_min(1)).clamp_min(side.least)
    return torch.where(side.count > 1, own, pooled)
