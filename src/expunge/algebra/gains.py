"""What a guess gains from features, over the bets of who knows the class alone.

Gains are numbers of single samples, so that they tell who is still exposed; their means come with
intervals. Where a subject has several samples these are no independent witnesses, and the interval
is that of subjects.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from expunge.algebra.guessing import Asked, prices
from expunge.algebra.statistics import LEVEL, Interval, mean_interval, newcombe, placements

_ENOUGH = 20  # subjects in a group of a class, and besides: the spread of fewer is not known

_Side = tuple[int, Bool[Tensor, " n"], Bool[Tensor, " n"]]


def bits(told: Float[Tensor, "n k"], asked: Asked) -> Float[Tensor, " n"]:
    """How many bits a guess saves on every sample; below zero where it was led astray.

    Their mean is what the probe's family can use of what features tell beyond the class, and of all
    that they tell where there is one class (V-information: Xu, Zhao, Song, Stewart and Ermon, A
    Theory of Usable Information under Computational Constraints, 2020).
    """
    return prices(asked.bets, asked) - prices(told, asked)


def hits(told: Float[Tensor, "n k"], asked: Asked) -> Float[Tensor, " n"]:
    """One where a guess is right and the bet was not, minus one the other way round, else zero."""
    right, before = ((each.argmax(1) == asked.z).double() for each in (told, asked.bets))
    return right - before


def interval(each: Float[Tensor, " n"], subject: Int[Tensor, " n"] | None = None) -> Interval:
    """The mean of gains; None takes every sample for a subject of its own.

    That nobody gained is no certainty: the interval is that of so many subjects without a hit.
    """
    if subject is None:
        return mean_interval(each)
    if not each.any():
        return mean_interval(each[: len(subject.unique())])
    mean = each.double().mean()
    return _around(mean.item(), (each.double() - mean) / len(each), subject)


def ranking(
    told: Float[Tensor, "n k"], asked: Asked, subject: Int[Tensor, " n"] | None = None
) -> Interval | None:
    """AUC of every group against the others of its class, averaged; bets alone have one half.

    Samples are ranked by how much likelier a guess makes the group than the bets do. Groups of a
    class weigh the same, and classes as much as they have samples; rare groups are left out. None
    where that leaves nothing. The interval adds up how far DeLong's components of every sample
    stray.
    """
    whose = torch.arange(len(asked)) if subject is None else subject
    found = list(_duels(told - asked.bets, asked, whose))
    if not found:
        return None
    total = sum(duel.weight for duel in found)
    value = sum(duel.weight * duel.above.mean().item() for duel in found) / total
    stray = torch.zeros(len(asked), dtype=torch.double)
    for duel in found:
        for rows, each in ((duel.member, duel.above), (duel.other, duel.below)):
            stray[rows] += duel.weight / total * (each - each.mean()) / len(each)
    if not stray.any():
        members = min(len(duel.above) for duel in found)
        others = min(len(duel.below) for duel in found)
        return Interval(value, *newcombe(value, members, others))
    around = _around(value, stray, whose)
    return Interval(value, max(0.0, around.low), min(1.0, around.high))


def rare(asked: Asked, subject: Int[Tensor, " n"] | None = None) -> int:
    """How many groups of classes have too few samples, in or beside them, to be ranked."""
    whose = torch.arange(len(asked)) if subject is None else subject
    return sum(len(sides) - len(_ample(sides, whose)) for sides in _sides(asked) if len(sides) > 1)


class _Duel(NamedTuple):
    """One group of a class against the others, by DeLong's components."""

    member: Bool[Tensor, " n"]
    above: Float[Tensor, " m"]
    other: Bool[Tensor, " n"]
    below: Float[Tensor, " o"]
    weight: float


def _duels(told: Float[Tensor, "n k"], asked: Asked, whose: Int[Tensor, " n"]) -> Iterator[_Duel]:
    for sides in _sides(asked):
        ample = _ample(sides, whose)
        for group, member, other in ample:
            above, below = placements(told[member, group], told[other, group])
            yield _Duel(member, above, other, below, int((member | other).sum()) / len(ample))


def _sides(asked: Asked) -> Iterator[list[_Side]]:
    """The groups of every class, each with its members and the others of the class."""
    for inside in asked.inside.mT.bool():
        groups = asked.z[inside].unique().tolist()
        yield [(each, inside & (asked.z == each), inside & (asked.z != each)) for each in groups]


def _ample(sides: Sequence[_Side], whose: Int[Tensor, " n"]) -> list[_Side]:
    return [
        (group, member, other)
        for group, member, other in sides
        if min(len(whose[side].unique()) for side in (member, other)) >= _ENOUGH
    ]


def _around(value: float, stray: Float[Tensor, " n"], subject: Int[Tensor, " n"]) -> Interval:
    """Student's interval from what every sample adds to an error, subject by subject."""
    of = subject.unique(return_inverse=True)[1]
    each = torch.zeros(int(of.max()) + 1, dtype=torch.double).index_add_(0, of, stray)
    if len(each) < 2:
        return Interval(value, -torch.inf, torch.inf)
    error = (each.square().sum() * len(each) / (len(each) - 1)).sqrt().item()
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(each) - 1)) * error
    return Interval(value, value - half, value + half)
