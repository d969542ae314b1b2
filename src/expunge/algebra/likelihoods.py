"""How much likelier a model's score of a record is if it was trained with the record.

Every record is judged by its own shadow models, some trained with it and some without: what is
easy for all models is no sign of membership. Each function returns one number a record, higher for
members.

With many shadow models, normal distributions of every record are best; with few, their variances
are noise, and one variance for all records is better (Carlini, Chien, Nasr, Song, Terzis and
Tramèr, Membership Inference Attacks From First Principles, 2022). `student_ratio` needs no such
choice: it learns from all records what means and variances to expect, and lets every record's own
scores correct that as far as they are many.
"""

from math import log, pi
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expunge.algebra.sides import Side, sides

Spread = Literal["record", "pooled"]
Tail = Literal["greater", "less", "two"]

_FREEDOM = 6.0  # how many scores the expected variance is worth


def student_ratio(
    scores: Float[Tensor, "k n"], trained: Bool[Tensor, "k n"], target: Float[Tensor, "*t n"]
) -> Float[Tensor, "*t n"]:
    """Log-ratio of Student's predictive densities, under an empirical-Bayes normal-gamma prior.

    The prior mean is that of all scores of a side; it is worth as many scores as the variance of
    models on the same record holds variances between records.
    """
    inside, outside = sides(scores, trained)
    return _student(target.double(), inside) - _student(target.double(), outside)


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


def _student(x: Float[Tensor, "*t n"], side: Side) -> Float[Tensor, "*t n"]:
    worth = side.within / side.between
    weight, freedom = worth + side.count, _FREEDOM + side.count
    # A record without models has no mean of its own: its weight below is zero.
    away = side.mean - side.grand
    mean = side.grand + side.count / weight * away
    squares = side.squares + worth * side.count / weight * away.square()
    variance = (_FREEDOM * side.within + squares) / freedom * (1 + 1 / weight)
    const = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2)
    tail = (freedom + 1) / 2 * torch.log1p((x - mean).square() / (freedom * variance))
    return const - (freedom * pi * variance).log() / 2 - tail


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
