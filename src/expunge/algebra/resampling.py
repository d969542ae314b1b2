"""How much a number would vary if other samples, or other models, had been drawn.

A resample is told by how often it drew every unit. So a statistic takes weights, a row for every
resample and a column for every value, and answers for many resamples at once: there is no loop over
them, but one over as many as memory holds.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.statistics import LEVEL, Interval

DRAWS = 2000
_ROOM = 2**22  # weights in memory at once

Weights = Float[Tensor, "b n"]
Statistic = Callable[..., Float[Tensor, " b"]]
"""Takes the weights of every group, and gives one number for each of their rows."""


def stratified(
    statistic: Statistic, *sizes: int, draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Percentile interval of a statistic of groups, each of which keeps its size."""
    generator = torch.Generator().manual_seed(seed)
    found = [
        statistic(*(_drawn(rows, size, generator) for size in sizes))
        for rows in portions(draws, sum(sizes))
    ]
    return _between(statistic(*(torch.ones(1, size).double() for size in sizes)), found, level)


def clustered(
    statistic: Statistic,
    *clusters: Int[Tensor, " _"],
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Percentile interval where values come in clusters, as all those of one model do.

    Every group names the clusters of its values; a cluster is drawn with all its values in all
    groups, or not at all.
    """
    generator = torch.Generator().manual_seed(seed)
    number = torch.cat(clusters).unique(return_inverse=True)[1]
    groups = number.split([len(each) for each in clusters])
    count, found = int(number.max()) + 1, []
    for rows in portions(draws, len(number)):
        weights = _drawn(rows, count, generator)
        found.append(statistic(*(weights[:, each] for each in groups)))
    ones = (torch.ones(1, len(each)).double() for each in clusters)
    return _between(statistic(*ones), found, level)


def portions(draws: int, width: int) -> Iterator[int]:
    """So many rows in parts, each of which has room in memory."""
    most = max(1, _ROOM // width)
    while draws > 0:
        yield min(draws, most)
        draws -= most


def _drawn(rows: int, units: int, generator: torch.Generator) -> Weights:
    """How often each of so many units is drawn, in as many draws as there are units."""
    drawn = torch.randint(units, (rows, units), generator=generator)
    ones = torch.ones(rows, units).double()
    return torch.zeros_like(ones).scatter_add_(1, drawn, ones)


def _between(value: Tensor, found: list[Tensor], level: float) -> Interval:
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2]).double()
    low, high = torch.cat(found).double().quantile(ends).tolist()
    return Interval(value.item(), low, high)
