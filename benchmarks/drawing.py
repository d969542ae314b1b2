"""A picture of a table: how far each method is from retraining; or what is left against the task.

One panel a cell. Where somebody leaves, a dot shows the difference to the model that never knew
them, in points, both of those who leave and of those who stay: at 0 nobody can tell. Where an
attribute leaves, a dot shows what probes still read, against how well the task is done.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from figures import svg
from standings import Standing
from table import Cell

_SHOWN = {
    "who leaves, trained on": "forget accuracy",
    "who leaves, unseen": "test accuracy, removed classes",
    "who stays, unseen": "test accuracy, kept classes",
    "all, unseen": "test accuracy",
}
_COLOURS = ["#b4432f", "#d98b3a", "#1f5f8b", "#1f5f8b"]
_MANY = [
    "#1f5f8b",
    "#b4432f",
    "#d98b3a",
    "#2f7d4f",
    "#7a5ea8",
    "#4aa5a5",
    "#8c6d31",
    "#c05a8a",
    "#5b7f3a",
    "#3b4a8c",
    "#a06060",
    "#2b2b2b",
]
_WIDE = 640


def drawn(found: Sequence[tuple[Cell, Sequence[Standing]]]) -> str:
    """All cells that have numbers, as SVG; empty, where none has."""
    panels = [_panel(cell, standings) for cell, standings in found if standings]
    panels = [panel for panel in panels if panel is not None]
    if not panels:
        return ""
    import altair as alt  # noqa: PLC0415 - only for the page

    chart = alt.vconcat(*panels, spacing=28).resolve_scale(color="independent", shape="independent")
    return svg(chart)


def _panel(cell: Cell, standings: Sequence[Standing]) -> Any:
    return _left(cell, standings) if cell.attributes else _apart(cell, standings)


def _apart(cell: Cell, standings: Sequence[Standing]) -> Any:
    """Differences to retraining."""
    import altair as alt  # noqa: PLC0415

    points = [
        {"method": row.name, "of": title, "apart": 100 * apart}
        for row, runs in standings
        for title, name in _SHOWN.items()
        if (apart := _difference(runs, name)) is not None
    ]
    if not points:
        return None
    names = [row.name for row, _ in standings]
    colour = alt.Scale(domain=[*_SHOWN], range=_COLOURS)
    base = alt.Chart(
        alt.InlineData(values=points), width=_WIDE, height={"step": 18}, title=cell.name
    )
    dots = base.mark_point(filled=True, size=55, opacity=0.85).encode(
        alt.X("apart:Q", title="accuracy less that of retraining, points").axis(tickCount=10),
        alt.Y("method:N", sort=names, title=None),
        alt.Color("of:N", scale=colour, title=None).legend(values=_used(points)),
        alt.Shape("of:N", scale=alt.Scale(domain=[*_SHOWN]), title=None).legend(None),
    )
    zero = alt.Chart(alt.InlineData(values=[{"apart": 0}])).mark_rule(color="#999999")
    return zero.encode(alt.X("apart:Q")) + dots


def _used(points: Sequence[Mapping[str, Any]]) -> list[str]:
    there = {point["of"] for point in points}
    return [title for title in _SHOWN if title in there]


def _difference(runs: Sequence[Mapping[str, Any]], name: str) -> float | None:
    taken = [run["measurements"].get(name) for run in runs]
    known = [m for m in taken if m and m["value"] is not None and m["references"]]
    return mean(m["value"] - mean(m["references"]) for m in known) if known else None


def _left(cell: Cell, standings: Sequence[Standing]) -> Any:
    """What is left of every attribute against the task."""
    import altair as alt  # noqa: PLC0415

    points = [point for a in cell.attributes for point in _points(a, standings)]
    if not points:
        return None
    base = alt.Chart(
        alt.InlineData(values=points), width=_WIDE, height=220, title=cell.name
    ).encode(
        alt.X("bits:Q", title="bits beyond the task that probes read").axis(tickCount=8),
        alt.Y("task:Q", title="task, unseen, %").scale(domain=_span(points)),
        alt.Color("method:N", title=None).scale(
            domain=["untouched", *(row.name for row, _ in standings)], range=["#999999", *_MANY]
        ),
    )
    dots = base.mark_point(filled=True, size=70, opacity=1)
    spread = base.mark_rule(opacity=0.5).encode(alt.X("low:Q"), alt.X2("high:Q"))
    several = len(cell.attributes) > 1
    return spread + (dots.encode(alt.Shape("attribute:N", title=None)) if several else dots)


def _span(points: Sequence[Mapping[str, Any]]) -> list[float]:
    """So much of the axis that chance does not look like a cliff."""
    marks = [point["task"] for point in points]
    return [max(0.0, min(marks) - 2), min(100.0, max(marks) + 2)]


def _points(attribute: str, standings: Sequence[Standing]) -> Iterator[dict[str, Any]]:
    """The original, and every method; a line from the smallest to the largest of its seeds."""
    bits, task = f"conditional leakage (bits), {attribute}", "test accuracy"
    every = [run for _, runs in standings for run in runs]
    for name, runs, whose in [("untouched", every, "original"),
                              *((row.name, runs, "value") for row, runs in standings)]:  # fmt: skip
        known = [run["measurements"] for run in runs if bits in run["measurements"]]
        left, well = ([each[key][whose] for each in known] for key in (bits, task))
        if None in left or not left or None in well:
            continue
        yield {
            "method": name, "attribute": attribute, "bits": mean(left), "task": 100 * mean(well),
            "low": min(left), "high": max(left),
        }  # fmt: skip
