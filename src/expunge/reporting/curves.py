"""Receiver operating characteristics: the whole curve, and its beginning on a log axis."""

from typing import Any

import altair as alt

from expunge.reporting.looks import NARROW, QUIET, Chart, Row, sized

_SQUARE = 360  # width of one of two panels
_RARE = 0.05  # false alarms: a curve that starts beyond has nothing to show on a log axis


def roc(lines: Any, rows: list[Row]) -> Chart:
    """The whole curve, and beside it where false alarms are rare: there single samples leak."""
    rare = [row for row in rows if row["x"] > 0 and row["y"] > 0]
    starts = [min(row["x"] for row in rare if row["by"] == by) for by in {r["by"] for r in rare}]
    least = max(1e-3, *starts) if starts else 1.0  # a mean of curves starts before any of them
    panels = alt.layer(_diagonal(), lines).properties(width=_SQUARE, height=_SQUARE * 0.75)
    if not rare or least > _RARE:
        return sized(alt.layer(_diagonal(), lines), NARROW, 300)
    shown = [row for row in rare if row["x"] >= least and row["y"] >= least]
    tens = [0.001, 0.01, 0.1, 1]
    axis = alt.Axis(values=tens, grid=False, format="~g")
    scale = alt.Scale(type="log", domain=[least, 1], nice=False)
    x = alt.X("x:Q", title="the same, where these are few", axis=axis, scale=scale)
    y = alt.Y("y:Q", title=None, axis=alt.Axis(values=tens, format="~g"), scale=scale)
    near = lines.properties(data=alt.InlineData(values=shown)).encode(x=x, y=y)
    near = alt.layer(_diagonal(least), near).properties(width=_SQUARE, height=_SQUARE * 0.75)
    both: Chart = alt.hconcat(panels, near, spacing=36)
    return both


def _diagonal(least: float = 0) -> Any:
    """Where an attack by chance would lie."""
    ends: list[Row] = [{"x": least, "y": least}, {"x": 1, "y": 1}]
    line = alt.Chart(alt.InlineData(values=ends)).mark_line(
        color=QUIET, strokeWidth=0.75, opacity=0.6
    )
    return line.encode(x="x:Q", y="y:Q")
