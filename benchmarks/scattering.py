"""A picture of a contest: gap to retraining against time, a panel a cell.

Who is worse than retraining on what stays, with any seed, is a hollow point.
"""

from collections.abc import Sequence
from math import exp, log
from typing import Any

from figures import svg
from standings import Standing, degraded, gap, share, word
from table import Cell

_LINE = 11  # pixels that a name needs
_WIDE = 0.7  # of a name, in logarithms of time
_FEW = 8  # methods, up to which two panels stand beside each other
_LEAST = 0.01  # points that the logarithmic picture begins with


def drawn(found: Sequence[tuple[Cell, Sequence[Standing]]], cap: float) -> str:
    """Gap against time, a panel a cell, as SVG."""
    import altair as alt  # noqa: PLC0415 - only for the page

    there = [(cell, standings) for cell, standings in found if standings]
    columns = 2 if max(len(standings) for _, standings in there) <= _FEW else 1
    size = (680 // columns, 460 // columns)
    panels = [_panel(alt, cell, standings, cap, size) for cell, standings in there]
    return svg(alt.concat(*panels, columns=columns))


def _panel(
    alt: Any, cell: Cell, standings: Sequence[Standing], cap: float, size: tuple[int, int]
) -> Any:
    wide, high = size
    points = [
        {
            "method": row.name,
            "time": share(runs),
            "gap": max(gap(runs), _LEAST),
            "verdict": word(runs),
            "whole": not degraded(runs),
        }
        for row, runs in standings
    ]
    _place(points, high // _LINE)
    base = alt.Chart(
        alt.InlineData(values=points), width=wide, height=high, title=cell.name
    ).encode(
        alt.X("time:Q", title="time, as a share of retraining's")
        .scale(type="log")
        .axis(format="%", tickCount=5),
        alt.Y("gap:Q", title="average gap to retraining, points").scale(type="log"),
    )
    colours = alt.Scale(
        domain=["equivalent", "inconclusive", "residual"], range=["#2f7d4f", "#8a8a8a", "#b4432f"]
    )
    hollow = alt.Scale(domain=[False, True], range=[0, 1])
    dots = base.mark_point(size=50).encode(
        alt.Stroke("verdict:N", title="verdict", scale=colours),
        alt.Fill("verdict:N", title="verdict", scale=colours),
        alt.FillOpacity("whole:N", scale=hollow, legend=None),
    )
    names = base.mark_text(align="left", dx=6, fontSize=9).encode(
        alt.Text("method:N"), alt.Y("label:Q").scale(type="log")
    )
    limit = alt.Chart(alt.InlineData(values=[{"cap": cap}])).mark_rule(strokeDash=[4, 4])
    threads = base.mark_rule(color="#bbbbbb").encode(alt.Y2("label:Q"))
    return limit.encode(alt.X("cap:Q")) + threads + dots + names


def _place(points: list[dict[str, Any]], lines: int) -> None:
    """Names of neighbours stand one above the other, not one upon the other."""
    gaps = [log(point["gap"]) for point in points]
    line = (max(gaps) - min(gaps)) / lines
    placed: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda each: each["gap"]):
        x, y = log(point["time"]), log(point["gap"])
        near = sorted(height for other, height in placed if abs(other - x) < _WIDE)
        for height in near:
            if abs(height - y) < line:
                y = height + line
        placed.append((x, y))
        point["label"] = exp(y)
