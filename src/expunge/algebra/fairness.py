"""How differently a model treats the groups of an attribute: gaps between rates, with intervals.

Gaps are about what a model does with an attribute, not about what it knows: a model can be fair and
tell all.

A gap is the largest of many differences, and some difference is always large by chance. So every
difference gets an interval that holds together with all the others (Newcombe's square-and-add of
exact intervals, by Bonferroni's rule), and the gap lies between the largest of their lower ends and
the largest of their upper ends. The worst group is found the same way.
"""

from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from expunge.algebra.statistics import LEVEL, Interval, clopper_pearson, minus

ENOUGH = 30
"""Samples from which on a rate is compared with others."""


@dataclass(frozen=True, slots=True)
class Extreme:
    """The largest gap or the lowest rate, and what it stands on."""

    interval: Interval
    group: int  # whose rate is the lower one
    fewest: int  # samples behind the rarest of the rates that were compared
    left_out: int  # rates that stand on too few samples to be compared


def demographic_parity(
    predicted: Int[Tensor, " n"], z: Int[Tensor, " n"], *, classes: int, least: int = ENOUGH
) -> Extreme | None:
    """How much more often one group is given a class than another; None if none can be compared."""
    everybody = torch.zeros_like(z)
    return equalised_odds(predicted, everybody, z, classes=classes, least=least)


def equalised_odds(
    predicted: Int[Tensor, " n"],
    y: Int[Tensor, " n"],
    z: Int[Tensor, " n"],
    *,
    classes: int,
    least: int = ENOUGH,
) -> Extreme | None:
    """The same among samples of one true class, whichever shows the largest gap.

    With two classes that is the larger of the gaps between rates of true and of false positives.
    """
    predicted, y, z = (each[z >= 0].long().cpu() for each in (predicted, y, z))
    if not len(z):
        return None
    groups, kinds = int(z.max()) + 1, int(y.max()) + 1
    cell = z * kinds + y
    counts = cell.bincount(minlength=groups * kinds).view(groups, kinds, 1)
    hits = (cell * classes + predicted).bincount(minlength=groups * kinds * classes)
    hits = hits.view(groups, kinds, classes)
    if classes == 2:  # the rates of one class mirror those of the other
        hits = hits[:, :, 1:]
    return _widest(hits.flatten(1), counts.expand_as(hits).flatten(1), least)


def worst(
    correct: Bool[Tensor, " n"], z: Int[Tensor, " n"], *, least: int = ENOUGH
) -> Extreme | None:
    """The lowest rate of correct answers in any group; None if no group is large enough."""
    correct, z = correct[z >= 0].cpu(), z[z >= 0].long().cpu()
    counts, hits = z.bincount(), z[correct].bincount(minlength=int(z.max()) + 1 if len(z) else 0)
    large = (counts >= least).nonzero()[:, 0].tolist()
    if not large:
        return None
    level = 1 - (1 - LEVEL) / len(large)
    rates = [clopper_pearson(int(hits[group]), int(counts[group]), level) for group in large]
    value, low, high = (min(ends) for ends in zip(*map(_ends, rates), strict=True))
    group = large[[rate.value for rate in rates].index(value)]
    left_out = int(((counts > 0) & (counts < least)).sum())
    return Extreme(Interval(value, low, high), group, int(counts[large].min()), left_out)


def _widest(hits: Int[Tensor, "k r"], counts: Int[Tensor, "k r"], least: int) -> Extreme | None:
    """The largest difference of any rate between any two groups."""
    enough = counts >= least
    pairs = [
        ((a, kind), (b, kind))
        for kind, large in enumerate(enough.mT)
        for a, b in permutations(large.nonzero()[:, 0].tolist(), 2)
    ]
    if not pairs:
        return None
    level = 1 - 2 * (1 - LEVEL) / len(pairs)  # every pair stands here both ways round
    rates = {
        at: clopper_pearson(int(hits[at]), int(counts[at]), level) for at in {a for a, _ in pairs}
    }
    gaps = [minus(rates[b], rates[a]) for a, b in pairs]
    value, low, high = (max(ends) for ends in zip(*map(_ends, gaps), strict=True))
    (group, _), _ = pairs[[gap.value for gap in gaps].index(value)]
    fewest = min(int(counts[at]) for at in rates)
    left_out = int(((counts > 0) & ~enough).sum())
    return Extreme(Interval(value, max(0.0, low), min(1.0, high)), group, fewest, left_out)


def _ends(found: Interval) -> tuple[float, float, float]:
    return found.value, found.low, found.high
