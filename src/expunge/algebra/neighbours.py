"""Nearest neighbours by many columns, exact to the last bit.

The rows stand on a circle, and each looks at the others in the order in which they follow it. Of
those that are equally near, the first is its neighbour. On a circle in random order that is each
of them equally often, and rows that are alike do not all lean on the same one.

A distance is a sum of squares, added column by column in double precision. No shortcut here
changes a bit of it, so that each finds the neighbour, and the ties, that a double loop finds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]

_HELD = 2**16  # numbers that are worked on at once: more would not stay in a processor's cache
_FEW = 24  # others that a row looks at first; fewer than 256, so that a byte can count them
_GROWTH = 4  # so many times more where they leave doubt


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The others that every row looks at, in the order of the circle, and how far away they are."""

    who: Places
    apart: Numbers
    beyond: Numbers  # how far the nearest of those is that a row does not look at

    @classmethod
    def everyone(cls, n: int) -> "Near":
        """All other rows, in one place as long as no column tells them apart."""
        return cls(_others(np.arange(n)), np.zeros((n, n - 1)), np.full(n, np.inf))

    def along(self, column: Numbers) -> "Near":
        """The same with one column more, where nobody is left out."""
        apart, seen = np.empty_like(self.apart), _others(column)
        for rows in chunks(np.arange(len(column)), _HELD // len(column)):
            apart[rows] = self.apart[rows] + _squares(seen, column, rows)
        return Near(self.who, apart, self.beyond)

    def within(self, k: int) -> "Near":
        """The first ``k`` of them, by distance and then in the order of the circle."""
        edge = np.partition(self.apart, k, axis=1)[:, k]
        inside, level = self.apart < edge[:, None], self.apart == edge[:, None]
        room = k - inside.sum(1, keepdims=True)
        inside |= level & (level.cumsum(1) <= room)
        return Near(self.who[inside].reshape(-1, k), self.apart[inside].reshape(-1, k), edge)

    def widening(self) -> list["Near"]:
        """A few of them, more of them, and so on until all."""
        found, k = [self], _FEW
        while k * _GROWTH < self.apart.shape[1]:
            k *= _GROWTH
        while _FEW <= k < self.apart.shape[1]:
            found.append(found[-1].within(k))
            k //= _GROWTH
        return found[::-1]

    def settles(self, least: Numbers, rows: Places) -> Mask:
        """Whether it is sure that nobody comes before those found at such distances.

        Those that a row does not look at are at least ``beyond`` away, whatever column is added.
        Of those in its very place, the ones that it looks at come first on the circle.
        """
        sure: Mask = (least < self.beyond[rows, None]) | (least == 0)
        return sure


def chunks(items: Places, size: int) -> Iterator[Places]:
    """The items in order, so many at a time, but at least one."""
    size = max(1, size)
    return (items[start : start + size] for start in range(0, len(items), size))


def nearest(columns: Numbers) -> Places:
    """The neighbour of every row, by one line a column."""
    n = columns.shape[1]
    unknown = np.zeros(n, np.intp), np.zeros(n, bool)
    who, sure = _nearest_in_line(columns[0]) if len(columns) == 1 else unknown
    if sure.all():
        return who
    seen = [_others(column) for column in columns]
    for rows in chunks(np.flatnonzero(~sure), _HELD // n):
        apart = np.zeros((len(rows), n - 1))
        for column, others in zip(columns, seen, strict=True):
            apart += _squares(others, column, rows)
        who[rows] = (rows + 1 + apart.argmin(1)) % n
    return who


def scan(columns: Numbers, chosen: Places, near: Near) -> tuple[Places, Mask]:
    """The neighbour of every row by each chosen column on top, and whether it is sure.

    The answers stand where the columns stand; those of the other columns are left empty.
    """
    who, sure = np.zeros(columns.shape, np.int32), np.zeros(columns.shape, bool)
    for block in chunks(chosen, _HELD // columns.shape[1]):
        who[block], sure[block] = _scan(columns[block], near)
    return who, sure


def seek(columns: Numbers, which: Places, rows: Places, near: Near) -> tuple[Places, Mask]:
    """The same for single rows, each by a column of its own."""
    who, sure = np.zeros(len(rows), np.int32), np.zeros(len(rows), bool)
    for part in chunks(np.arange(len(rows)), _HELD // near.apart.shape[1]):
        who[part], sure[part] = _seek(columns, which[part], rows[part], near)
    return who, sure


def _scan(columns: Numbers, near: Near) -> tuple[Places, Mask]:
    here = np.ascontiguousarray(columns.T)  # one line a row: what it asks for lies together
    least, gap = np.full_like(here, np.inf), np.empty_like(here)
    found, closer = np.zeros(here.shape, np.uint8), np.empty(here.shape, bool)
    for turn, (them, apart) in enumerate(zip(near.who.T, near.apart.T, strict=True)):
        np.take(here, them, axis=0, out=gap, mode="clip")
        np.subtract(gap, here, out=gap)
        np.multiply(gap, gap, out=gap)
        np.add(gap, apart[:, None], out=gap)
        np.less(gap, least, out=closer)
        np.minimum(gap, least, out=least)
        np.maximum(found, closer * np.uint8(turn), out=found)  # turns rise: quicker than a mask
    who = np.take_along_axis(near.who, found, 1)
    return who.T, near.settles(least, np.arange(len(here))).T


def _seek(columns: Numbers, which: Places, rows: Places, near: Near) -> tuple[Places, Mask]:
    seen = near.who[rows]
    gap = columns.take(seen + which[:, None] * columns.shape[1], mode="clip")
    gap -= columns[which, rows][:, None]
    gap *= gap
    gap += near.apart[rows]
    first = gap.argmin(1)[:, None]
    least = np.take_along_axis(gap, first, 1)
    return np.take_along_axis(seen, first, 1)[:, 0], near.settles(least, rows)[:, 0]


def _others(column: NDArray[Any]) -> NDArray[Any]:
    """What every row sees when it looks around the circle: a view, and no copy."""
    twice = np.concatenate([column, column[:-1]])
    return sliding_window_view(twice, len(column) - 1)[1:]


def _squares(others: Numbers, column: Numbers, rows: Places) -> Numbers:
    gap = others[rows] - column[rows, None]
    return gap * gap


def _nearest_in_line(column: Numbers) -> tuple[Places, Mask]:
    """Neighbours by one column, and whether its order alone can tell them."""
    order = column.argsort(kind="stable")
    line = column[order]
    step = np.diff(line)
    clear = bool(((step * step > 0) == (step > 0)).all())  # a tiny step has no square
    again, alone = _next_of_same_value(step > 0)
    beside, unique = _next_in_line(line)
    who, sure = np.empty_like(order), np.empty(len(order), bool)
    who[order] = order[np.where(alone, beside, again)]
    sure[order] = np.where(alone, unique, clear)
    return who, sure


def _next_of_same_value(rises: Mask) -> tuple[Places, Mask]:
    """Where the next of the same value stands, round the circle, and who has a value alone."""
    first, last = np.append(True, rises), np.append(rises, True)
    place = np.arange(len(first))
    start = place[first][first.cumsum() - 1]
    return np.where(last, start, place + 1), first & last


def _next_in_line(line: Numbers) -> tuple[Places, Mask]:
    """Where the nearest in a sorted line stands, and whether nobody else is as near.

    Two to each side are looked at: different values may round to one distance.
    """
    apart = np.full((4, len(line)), np.inf)
    apart[0, 2:] = apart[3, :-2] = np.square(line[2:] - line[:-2])
    apart[1, 1:] = apart[2, :-1] = np.square(line[1:] - line[:-1])
    nearby: Places = np.arange(len(line)) + np.array([-2, -1, 1, 2])[apart.argmin(0)]
    return nearby, (apart == apart.min(0)).sum(0) == 1
