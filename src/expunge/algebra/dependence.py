"""How much one variable tells about another, given what is known: CODEC, and FOCI built on it.

The coefficient of conditional dependence of Azadkia and Chatterjee, "A simple measure of
conditional dependence" (2021). It asks how alike the ranks of ``y`` are for rows that are
neighbours. No model is fitted and nothing is tuned: 0 means that nothing is told, 1 that
everything is, and the estimate of 0 may fall below it.

Neighbours are neighbours by Euclidean distance, as in the paper. Where units differ, standardise
the columns first: nothing here does it silently. Ties between neighbours are broken at random, by
one random order of the rows (see :mod:`expunge.algebra.neighbours`). ``jitter`` adds a little
normal noise to every variable instead, which is L-CODEC of Mehta, Pal, Singh and Ravi, "Deep
unlearning via randomized conditionally independent Hessians" (2022).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra.neighbours import Mask, Near, Numbers, Places, chunks, nearest, scan, seek
from expunge.errors import BadSetting

_TOGETHER = 32  # candidates that are compared before the weakest of the rest are given up
_PARTS = 4  # rows are settled part by part, so that a candidate can be given up in between
_LARGEST = 1e150  # squares of larger numbers would not be finite


@dataclass(frozen=True, slots=True)
class Selection:
    """Features in the order in which they were chosen, and what each told beyond those before."""

    selected: tuple[int, ...]
    scores: tuple[float, ...]


def codec(
    y: Float[Tensor, " n"],
    z: Float[Tensor, "n *d"],
    x: Float[Tensor, "n *k"] | None = None,
    *,
    jitter: float = 0.0,
    generator: torch.Generator | None = None,
) -> float:
    """How much ``z`` tells about ``y``, beyond ``x`` where that is given.

    0 where ``x`` alone tells all of it, and nothing is left to be told. One column takes
    O(n log n); several take O(n^2) distances, a few rows at a time.
    """
    answers, columns = _read([y, z] if x is None else [y, x, z], jitter, generator)
    ranks = _ranks(answers)
    if x is None:
        return _first_score(ranks, *_told(ranks, nearest(columns)[None]).tolist())
    known = columns[: _columns(x).shape[1]]
    told, before = _told(ranks, np.stack([nearest(columns), nearest(known)])).tolist()
    return _score(ranks, told, before)


def foci(
    x: Float[Tensor, "n p"],
    y: Float[Tensor, " n"],
    *,
    max_features: int | None = None,
    jitter: float = 0.0,
    generator: torch.Generator | None = None,
) -> Selection:
    """Choose columns of ``x`` one by one, each the one that tells most beyond those before.

    It ends where no column tells anything more; the first is taken in any case. Of columns that
    tell the same, the one that stands first is taken. The result is that of trying every column
    in full, and costs O(p n log n), then for every further feature O(p n) where most neighbours
    are found among the few that are nearest without the new column, O(p n^2) at worst. It holds
    8 n^2 bytes a few times.
    """
    most = x.shape[1] if max_features is None else min(max_features, x.shape[1])
    if most < 1:
        raise BadSetting(
            f"{max_features} of {x.shape[1]} features were asked for",
            hint="give at least one column, and max_features=1 or more.",
        )
    answers, columns = _read([y, x], jitter, generator)
    selected, scores = zip(*islice(_choices(columns, _ranks(answers)), most), strict=True)
    return Selection(selected, scores)


def _choices(columns: Numbers, ranks: Places) -> Iterator[tuple[int, float]]:
    """One column after the other with its score, until none tells anything more."""
    alone = _told(ranks, np.stack([nearest(column[None]) for column in columns]))
    best, told = int(alone.argmax()), int(alone.max())
    yield best, _first_score(ranks, told)
    near, left = Near.everyone(len(ranks)), np.arange(len(columns))
    while told < ranks.sum() and len(left) > 1:
        near, left = near.along(columns[best]), left[left != best]
        more, best = _best(columns, left, near, ranks, told)
        if more == told:
            return
        yield best, _score(ranks, more, told)
        told = more


def _best(columns: Numbers, left: Places, near: Near, ranks: Places, floor: int) -> tuple[int, int]:
    """How much the best candidate tells and which it is; ``floor`` if none tells more than that.

    The most promising come first. Whoever could not win any more, even if all rows in doubt had
    perfect neighbours, is given up; so the rows that could disappoint most are settled first.
    """
    few, *wider = near.widening()
    race = _Race(columns, ranks, *scan(columns, left, few))
    weightiest = np.array_split(np.argsort(-ranks, kind="stable"), _PARTS)
    best = floor, 0
    for block in chunks(race.by_promise(left), _TOGETHER):
        alive, most = block, race.at_most(block)
        for level, part in product(wider, weightiest):
            alive, most = alive[most >= best[0]], most[most >= best[0]]
            if not len(alive):
                break
            most = most - race.settle(alive, part, level)
        best = max([best, *zip(most.tolist(), (-alive).tolist(), strict=True)])
    return best[0], -best[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Race:
    """What is known so far of every candidate: a likely neighbour of every row, or a sure one."""

    columns: Numbers
    ranks: Places
    who: Places
    sure: Mask

    def by_promise(self, left: Places) -> Places:
        """Candidates in the order of what they tell if the likely neighbours are the true ones."""
        told = [_told(self.ranks, self.who[block]) for block in chunks(left, _TOGETHER)]
        return left[np.argsort(-np.concatenate(told), kind="stable")]

    def at_most(self, block: Places) -> Places:
        """What they tell if rows in doubt have neighbours that are at least as high as they."""
        told = np.where(self.sure[block], _lower(self.ranks, self.who[block]), self.ranks)
        found: Places = told.sum(1)
        return found

    def settle(self, alive: Places, part: Places, level: Near) -> Places:
        """Look further for these rows, and say how much less each candidate can tell at most."""
        line, place = np.nonzero(~self.sure[np.ix_(alive, part)])
        which, rows = alive[line], part[place]
        who, sure = seek(self.columns, which, rows, level)
        self.who[which, rows], self.sure[which, rows] = who, sure
        lost = (self.ranks[rows] - np.minimum(self.ranks[rows], self.ranks[who])) * sure
        return np.bincount(line, lost, len(alive)).astype(np.int64)


def _told(ranks: Places, who: Places) -> Places:
    """The lower rank of every row and its neighbour, added up for every candidate."""
    told: Places = _lower(ranks, who).sum(1)
    return told


def _lower(ranks: Places, who: Places) -> Places:
    return np.minimum(ranks, ranks[who])


def _first_score(ranks: Places, told: int) -> float:
    n = len(ranks)
    above = n - np.searchsorted(np.sort(ranks), ranks)  # how many rows have this answer or more
    return float((n * told - (above**2).sum()) / (above * (n - above)).sum())


def _score(ranks: Places, told: int, before: int) -> float:
    left = ranks.sum() - before
    return float((told - before) / left) if left else 0.0


def _ranks(answers: Numbers) -> Places:
    """For every row, how many rows have its answer or less."""
    return np.searchsorted(np.sort(answers), answers, side="right")


def _columns(x: Float[Tensor, "n *d"]) -> Float[Tensor, "n d"]:
    return x.detach().cpu().double().reshape(len(x), -1)


def _read(
    variables: list[Tensor], jitter: float, generator: torch.Generator | None
) -> tuple[Numbers, Numbers]:
    """The first variable, and the columns of the others, one line each, rows in random order."""
    counts = [len(variable) for variable in variables]
    if len({*counts}) > 1:
        raise BadSetting(
            f"the variables have {', '.join(map(str, counts))} rows",
            hint="every sample needs one row in each of them.",
        )
    table = torch.cat([_columns(variable) for variable in variables], 1).T
    _check(table, jitter)
    device = None if generator is None else generator.device
    if jitter:
        noise = torch.randn(table.shape, generator=generator, device=device, dtype=torch.double)
        table = table + jitter * noise.cpu()
    order = torch.randperm(table.shape[1], generator=generator, device=device).cpu()
    numbers = table[:, order].contiguous().numpy()
    return numbers[0], numbers[1:]


def _check(table: Float[Tensor, "d n"], jitter: float) -> None:
    if table.shape[1] < 3:
        raise BadSetting(
            f"{table.shape[1]} rows are too few: every row needs two others to choose from",
            hint="give three rows or more; some hundreds make the coefficient mean something.",
        )
    wrong = int((~(table.abs() < _LARGEST)).sum())
    if wrong:
        raise BadSetting(
            f"{wrong} numbers are not finite, or too large to be squared",
            hint="leave out the rows that hold them.",
        )
    if bool((table[0] == table[0, 0]).all()):
        raise BadSetting(
            f"y is {table[0, 0].item():g} in all {table.shape[1]} rows: there is nothing to tell",
            hint="pass an outcome that varies.",
        )
    if not 0 <= jitter < _LARGEST:
        raise BadSetting(f"jitter is {jitter}", hint="pass a standard deviation: 0 or more.")
