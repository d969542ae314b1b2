"""Write what a table found: every raw number as JSON, and one page that a newcomer can read."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import drawing
import scattering
import standings
import streams
import torch
from columns import COLUMNS, Column, glossary
from table import Cell, Row, Table, grid

from expunge.algebra.statistics import mean_interval
from expunge.storing import write_text

Found = list[tuple[Cell, Row, list[dict[str, Any]]]]


def write(table: Table, found: Found, results: Path, *, quick: bool) -> None:
    """Write results/TABLE.json and results/TABLE.md."""
    raw = {
        "quick": quick,
        "machine": "; ".join(
            sorted({run["machine"] for _, _, runs in found for run in runs if "machine" in run})
        ),
        "rows": [run for _, _, runs in found for run in runs],
    }
    write_text(results / f"{table.name}.json", _lines(raw))
    write_text(results / f"{table.name}.md", _page(table, found, raw))
    cells = [(cell, _mine(_every(cell, found))) for cell in table.cells]
    drawn = drawing.drawn(cells) if table.cap is None else scattering.drawn(cells, table.cap)
    write_text(results / f"{table.name}.svg", drawn)


def _lines(raw: dict[str, Any]) -> str:
    """JSON with one row a line: streams have long curves."""
    head = {key: value for key, value in raw.items() if key != "rows"}
    rows = ",\n".join(json.dumps(row, sort_keys=True) for row in raw["rows"])
    return json.dumps(head)[:-1] + f', "rows": [\n{rows}\n]}}\n'


def _page(table: Table, found: Found, raw: dict[str, Any]) -> str:
    quick = "\n**A quick run: small stand-ins, one seed. These numbers say nothing.**\n"
    head = [
        f"# {table.title}\n",
        table.about,
        quick if raw["quick"] else "",
        f"Measured on {raw['machine']}; one thread a process, two processes side by side.\n",
    ]
    columns = [c for c in COLUMNS if c.title in (table.columns or _USUAL)]
    contest = table.cap is not None
    reading = standings.READING.format(cap=table.cap) if contest else _READING
    section = _contest if contest else _section
    drawn = "Gap against time" if contest else _DRAWN
    head += [reading, glossary(columns), f"![{drawn}]({table.name}.svg)\n"]
    cells = [f"{section(cell, found, columns)}\n{table.again(cell)}" for cell in table.cells]
    return "\n".join(head + cells)


_ALIKE = 0.8  # of the longer side of an interval: then one number tells both
_SAME = 1e-3  # by which two machines may differ about one model
_DRAWN = "Each method beside retraining, cell by cell"
_USUAL = {
    "forgotten, unseen",
    "forgotten, trained on",
    "kept, unseen",
    "AUS",
    "threshold AUC",
    "probe AUC",
}

_READING = """\
Values are means over seeds with their 95 % interval (Student's; of values that are all 0 or 1,
Clopper and Pearson's), or without one where all seeds agree; with one seed, the interval is that of
the test samples. Brackets hold the ends of one that is longer to one side. In parentheses: of
seconds, time and steps the least and the most; of all else the difference to the model retrained
without the forget set, by the same recipe and seed. *Seconds* are those of the processor, on one
thread; *time* is their share of what retraining takes, extrapolated from an epoch over 4,096
samples where it is long; *steps* are updates of the weights.
"""


def _section(cell: Cell, found: Found, asked_for: Sequence[Column]) -> str:
    every = _every(cell, found)
    mine = _mine(every)
    if not mine:
        return "\n".join([f"## {cell.name}\n\nNot run yet.\n", *_failures(every)])
    first = max((runs for _, runs in mine), key=len)
    columns = _columns(cell, asked_for, first)
    head = ["method", *(c.title for c in columns), "seconds", "time", "steps"]
    every_run = [run for _, runs in mine for run in runs]
    body = [
        ["untouched", *(_standing(c, every_run, "original") for c in columns), "", "", ""],
        ["trained" if cell.attributes else "retrained",
         *(_standing(c, every_run, "references") for c in columns),
         _spread([run["retraining_seconds"] for run in every_run], "{:.0f}"), "100 %", ""],
    ]  # fmt: skip
    body += [
        [row.name + _fewer(runs, first), *(_cell(c, runs) for c in columns), *_price(runs)]
        for row, runs in mine
    ]
    asked = f"Asked: {cell.asked}. " if cell.asked else ""
    seeds = f"Seeds: {_seeds(first)}.{_missing(cell, every)}"
    told = [*_apart(columns, every_run), *streams.section(mine), *_hidden(mine), *_failures(every)]
    return "\n".join([f"## {cell.name}\n", f"{asked}{seeds}\n", grid(head, body), *told])


def _contest(cell: Cell, found: Found, asked_for: Sequence[Column]) -> str:
    every = _every(cell, found)
    mine = standings.ranked(_mine(every))
    if not mine:
        return "\n".join([f"## {cell.name}\n\nNot run yet.\n", *_failures(every)])
    usual = [runs for _, runs in mine if not runs[0]["own"]]  # they share their references
    first = max(usual or [runs for _, runs in mine], key=len)
    columns = _columns(cell, asked_for, first)
    sharp = [standings.POWER] if any(standings.power(runs) != "-" for _, runs in mine) else []
    head = ["method", "verdict", *(c.title for c in columns), *sharp, "seconds", "time",
            *standings.HEAD]  # fmt: skip
    taken = [run["retraining_seconds"] for _, runs in mine for run in runs]
    seconds, blank = _spread(taken, "{:.1f}" if min(taken) > 10 else "{:.2f}"), [""] * 2
    body = [
        ["untouched", "", *(_standing(c, first, "original") for c in columns), *("" for _ in sharp),
         "", "", *blank],
        ["retrained", "", *(_standing(c, first, "references") for c in columns),
         *("" for _ in sharp), seconds, "100 %", *blank],
    ]  # fmt: skip
    for row, runs in mine:
        name = standings.title(row, runs) + _fewer(runs, first)
        cells = [*(_cell(c, runs) for c in columns), *(standings.power(runs) for _ in sharp)]
        price = [*_price(runs)[:2], *standings.price(runs)]
        body.append([name, standings.verdicts(runs), *cells, *price])
    told = [*standings.exact(mine), *standings.blunt(mine), *_failures(every)]
    seeds = f"Seeds: {_seeds(first)}.{_missing(cell, every)}\n"
    return "\n".join([f"## {cell.name}\n", seeds, grid(head, body, words=2), *told])


def _every(cell: Cell, found: Found) -> list[tuple[Row, list[dict[str, Any]]]]:
    return [(row, runs) for other, row, runs in found if other == cell and runs]


def _missing(cell: Cell, every: Sequence[tuple[Row, list[dict[str, Any]]]]) -> str:
    """What a reader must not take for absent."""
    there = {row.name for row, _ in every}
    left = [row.name for row in cell.rows if row.name not in there]
    return f" Not run yet: {', '.join(left)}." if left else ""


def _mine(every: Sequence[tuple[Row, list[dict[str, Any]]]]) -> list[standings.Standing]:
    """The rows with those of their runs that did not fail."""
    kept = [(row, [run for run in runs if "failed" not in run]) for row, runs in every]
    return [(row, runs) for row, runs in kept if runs]


def _columns(
    cell: Cell, asked_for: Sequence[Column], runs: Sequence[dict[str, Any]]
) -> list[Column]:
    every_one = [each for column in asked_for for each in column.of(cell)]
    return [c for c in every_one if any(_name(c, run) for run in runs)]


def _seeds(runs: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(run["seed"]) for run in runs)


def _fewer(runs: Sequence[dict[str, Any]], most: Sequence[dict[str, Any]]) -> str:
    """What a row's name adds where it was not run with all seeds of the others."""
    alike = {run["seed"] for run in runs} == {run["seed"] for run in most}
    return "" if alike else f" (seed{'s' if len(runs) > 1 else ''} {_seeds(runs)})"


def _failures(every: Sequence[tuple[Row, list[dict[str, Any]]]]) -> Iterable[str]:
    for row, runs in every:
        for run in runs:
            if "failed" in run:
                yield f"- {row.name} failed with seed {run['seed']}: {run['failed']}.\n"


def _hidden(mine: Sequence[tuple[Row, list[dict[str, Any]]]]) -> Iterable[str]:
    """Say where a class was merely hidden: its features tell it better than a retrained model's."""
    for row, runs in mine:
        probes = [run["measurements"].get("class-probe AUC") for run in runs]
        gaps = [p["interval"][0] - max(p["references"]) for p in probes if p and p["references"]]
        if gaps and mean(gaps) > 0:
            yield (
                f"- {row.name} hides the class: its features still tell it apart better than those "
                f"of a model that never saw it.\n"
            )


def _name(column: Column, run: dict[str, Any]) -> str:
    there = [n for n in column.names if n in run["measurements"]]
    return there[0] if there and run["measurements"][there[0]]["value"] is not None else ""


def _cell(column: Column, runs: list[dict[str, Any]]) -> str:
    taken = [run["measurements"][_name(column, run)] for run in runs if _name(column, run)]
    if not taken:
        return "-"
    values = [m["value"] for m in taken]
    beside = [m["references"] or _original(column, m) for m in taken]
    apart = [m["value"] - mean(told) for m, told in zip(taken, beside, strict=True) if told]
    shown = _shown(column, values, taken[0]["interval"] if len(values) == 1 else None)
    return f"{shown} ({_number(column, mean(apart), signed=True)})" if apart else shown


def _original(column: Column, measurement: dict[str, Any]) -> list[float]:
    """What a row without references stands beside, if the original was asked as it was."""
    value = measurement["original"]
    return [value] if column.by_row and value is not None else []


def _standing(column: Column, runs: list[dict[str, Any]], whose: str) -> str:
    """What rows of the same seed stand beside, which is one model's, or the mean of several."""
    values = [mean(told) for told in _told(column, runs, whose).values()]
    if column.by_row and values:
        return "by row"
    return _shown(column, values, None) if values else "-"


def _told(column: Column, runs: list[dict[str, Any]], whose: str) -> dict[int, list[float]]:
    """What every seed's rows say of the models that they stand beside."""
    found: dict[int, list[float]] = {}
    for run in runs:
        value = run["measurements"][_name(column, run)][whose] if _name(column, run) else None
        if value not in (None, []):
            one = mean(value) if isinstance(value, list) else value
            found.setdefault(run["seed"], []).append(one)
    return found


def _apart(columns: Sequence[Column], runs: list[dict[str, Any]]) -> Iterable[str]:
    """Say where rows do not stand beside the same models."""
    common = [c for c in columns if not c.by_row]
    told = (_told(c, runs, whose) for c in common for whose in ("original", "references"))
    if any(max(each) - min(each) > _SAME for seeds in told for each in seeds.values()):
        yield (
            "- Not all rows were run beside the same models: the first two lines are means of "
            "theirs, and differences and times are held against each row's own.\n"
        )


def _shown(column: Column, values: list[float], interval: Sequence[float] | None) -> str:
    """A mean with its interval, as plus and minus where both sides look alike."""
    centre = mean(values)
    if interval is None:
        if len(set(values)) < 2:
            return _number(column, centre)
        found = mean_interval(torch.tensor(values, dtype=torch.float64))
        interval = (found.low, found.high)
    low, high = interval
    less, more = sorted((centre - low, high - centre))
    if less >= _ALIKE * more:
        return f"{_number(column, centre)} ± {_number(column, more)}"
    return f"{_number(column, centre)} [{_number(column, low)} to {_number(column, high)}]"


def _number(column: Column, value: float, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    scaled, digits = (100 * value, 1) if column.percent else (value, column.digits)
    return f"{scaled:{sign}.{digits}f}" + (" %" if column.percent else "")


def _price(runs: list[dict[str, Any]]) -> list[str]:
    shares = [100 * run["seconds"] / run["retraining_seconds"] for run in runs]
    return [
        _spread([run["seconds"] for run in runs], "{:.1f}"),
        _spread(shares, "{:.1f} %"),
        _spread([run["steps"] for run in runs], "{:.0f}"),
    ]


def _spread(values: Sequence[float], form: str) -> str:
    """The mean, and the smallest and largest where they differ."""
    low, high = form.format(min(values)), form.format(max(values))
    return form.format(mean(values)) + (f" ({low} to {high})" if low != high else "")
