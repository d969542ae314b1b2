"""Measurements as rows of a table: every number already written out."""

from collections.abc import Iterator
from dataclasses import dataclass

from expunge.algebra.statistics import Interval
from expunge.auditing import Evidence
from expunge.judging import UTILITY, deciding
from expunge.metric import Comparison, Measurement
from expunge.reporting.numbers import mean_and_range, parted, typeset
from expunge.reporting.wording import reading

_UNMEASURED = "not measured: "


@dataclass(frozen=True, slots=True)
class Mark:
    """A number's place on a small scale, in percent of its width."""

    kind: str  # original, unlearned, retrained
    at: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A number, and where it lies; nothing where it is not known."""

    number: str = ""
    span: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, as a reader sees it.

    It has a field for every cell of the table.
    """

    name: str
    meaning: str
    value: Cell
    original: Cell
    retrained: Cell
    difference: Cell
    place: str  # where the difference lies with respect to the margin, or the number to its floor
    n: int
    note: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that play the same part in the verdict."""

    title: str
    caption: str
    rows: tuple[Row, ...]
    decides: bool = False


def groups(evidence: Evidence) -> list[Group]:
    """What decides, what must not suffer, and what is described only."""
    measured = [m for m in evidence.measurements if m.value is not None]
    primary = deciding(evidence)
    found = [
        Group("These decide", "They were named before anything was measured.",
              _rows(m for m in measured if m.name in primary), decides=True),
        Group("These must not suffer", "A loss here makes the verdict “degraded”.",
              _rows(m for m in measured if m.name in UTILITY)),
        Group("Described only", "These explain; they do not decide.",
              _rows(m for m in measured if m.name not in (*primary, *UTILITY))),
    ]  # fmt: skip
    return [group for group in found if group.rows]


def unmeasured(evidence: Evidence) -> list[tuple[str, str]]:
    """What was not measured, and why: the deciding measurements even if nobody tried."""
    names = [m.name for m in evidence.measurements]
    absent = [n for n in deciding(evidence) if n not in names]
    silent = [m for m in evidence.measurements if m.value is None]
    silent += [evidence.measurement(name) for name in absent]
    return [(m.name, m.note.removeprefix(_UNMEASURED) or m.status) for m in silent]


def _rows(measurements: Iterator[Measurement]) -> tuple[Row, ...]:
    return tuple(_row(m, m.value) for m in measurements if m.value is not None)


def _row(m: Measurement, value: float) -> Row:
    c = m.comparison if m.target else None  # a rehearsal compares with chance, not with models
    return Row(
        name=m.name,
        meaning=reading(m.name),
        value=Cell(*parted(value, *(m.interval or ()))),
        original=Cell() if m.original is None else _cell(m.original),
        retrained=Cell(*mean_and_range(m.target)) if m.target else Cell(),
        difference=Cell() if c is None else _cell(c.difference, signed=True),
        place=_height(m) if c is None else _place(c),
        n=m.n,
        note=typeset(m.note),
        marks=_marks(m, value),
    )


def _cell(found: Interval, *, signed: bool = False) -> Cell:
    return Cell(*parted(found.value, found.low, found.high, signed=signed))


def _place(c: Comparison) -> str:
    margin = f"±{c.margin:.3g}"
    if c.inside:
        return f"inside the margin of {margin}"
    return f"outside the margin of {margin}" if c.outside else f"across the margin of {margin}"


def _height(m: Measurement) -> str:
    """Where a number lies with respect to its floor, if it has one."""
    if m.floor is None or m.interval is None:
        return ""
    floor = f"the floor of {m.floor:.3g}"
    if m.interval[1] <= m.floor:
        return f"below {floor}"
    return f"above {floor}" if m.interval[0] > m.floor else f"across {floor}"


def _marks(m: Measurement, value: float) -> tuple[Mark, ...]:
    """Where the models lie on one scale, from the smallest of them to the largest."""
    if not m.target:
        return ()
    placed = [("retrained", at) for at in m.target]
    placed += [("original", m.original.value)] if m.original else []
    placed.append(("unlearned", value))
    low, high = min(at for _, at in placed), max(at for _, at in placed)
    if high == low:
        return tuple(Mark(kind, 50.0) for kind, _ in placed)
    return tuple(Mark(kind, round(100 * (at - low) / (high - low), 1)) for kind, at in placed)
