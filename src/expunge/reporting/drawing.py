"""One exhibit, one picture: by its kind, never by its name.

Altair draws, vl-convert writes SVG, and the style sheet takes the colours over.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

from expunge.metric import Exhibit
from expunge.reporting.curves import roc
from expunge.reporting.looks import (
    ACCENT,
    BAND,
    COLOURS,
    DASHES,
    INK,
    NARROW,
    QUIET,
    RULE,
    SHAPES,
    SPARE,
    SPARE_DASHES,
    WIDE,
    Chart,
    Row,
    coloured,
    scaled,
    sized,
)
from expunge.reporting.numbers import number

_LINES = alt.Legend(
    symbolSize=500, symbolType="stroke"
)  # long enough for a line to show its dashes
_AXES = {
    "bits": "bits that the features save; below zero they mislead",
    "labels": "labels that an attacker knows",
    "fpr": "unseen samples flagged by mistake",
    "standing": "deviations of retrained models",
    "loss": "loss of a sample; a bar starts at its label",
    "model": "",  # names of models and of classes speak for themselves
    "true class and model": "",
}
_HEIGHTS = {"bits": "bits beyond the label", "share": "share of samples",
            "tpr": "forgotten samples recognised"}  # fmt: skip
_RATES = {"accuracy", "share", "tpr"}
_CROWDED = 12  # more groups of bars than this need the whole width
_AXIS, _GAP = 60, 24  # what an axis takes, and what lies between panels
_THRONG = 40  # more than this are points, or nobody could tell one bar from another


def draw(exhibit: Exhibit) -> Chart:
    """The picture of an exhibit; a table is no picture, see `charts.tabulated`."""
    rows, wide = _rows(exhibit), is_wide(exhibit)
    width = WIDE if wide else NARROW
    match exhibit.kind:
        case "curve":
            return _curve(exhibit, rows, width)
        case "bars":
            return _bars(exhibit, rows, width)
        case "points" | "table" | "pictures":
            return _points(exhibit, rows, width)
        case "matrix":
            return _matrix(exhibit, rows, width)


def is_wide(exhibit: Exhibit) -> bool:
    """Whether a picture needs the whole width of the page."""
    places = set(exhibit.columns.get(exhibit.x, ()))
    if exhibit.kind == "curve":
        return _named(places) or (exhibit.x, exhibit.y) == ("fpr", "tpr")
    if panel_of(exhibit):
        return exhibit.kind == "points"
    return exhibit.kind in {"bars", "matrix"} and len(places) > _CROWDED


def panel_of(exhibit: Exhibit) -> str:
    """The column of words that nothing else uses: it splits a picture into panels."""
    used = {exhibit.x, exhibit.y, exhibit.by, _shade_of(exhibit)}
    spare = [name for name in exhibit.columns if name not in used]
    words = [n for n in spare if all(isinstance(v, str) for v in exhibit.columns[n])]
    return words[0] if words else ""


def forest(rows: Sequence[Row], title: str, margin: tuple[float, float]) -> Chart:
    """Numbers with their intervals, and the band in which a number would not matter."""
    data, order = alt.InlineData(values=list(rows)), [row["who"] for row in rows]
    band = alt.InlineData(values=[{"low": margin[0], "high": margin[1]}])
    axis = alt.Axis(tickCount=8, grid=False)
    x = alt.X("low:Q", title=title, axis=axis, scale=alt.Scale(nice=True, zero=False))
    y = alt.Y("who:N", sort=order, title=None, axis=_words())
    colour = coloured("model", [row["model"] for row in rows], None)
    whole = alt.Chart(data)
    shape = alt.Shape("model:N", legend=None, scale=scaled(
        [row["model"] for row in rows], list(SHAPES.values()), SHAPES))  # fmt: skip
    layers = alt.layer(
        alt.Chart(band).mark_rect(color=BAND, opacity=1).encode(x=x, x2="high:Q"),
        alt.Chart(band).mark_rule(color=QUIET, strokeDash=[2, 2]).encode(x=alt.datum(0)),
        whole.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", y=y, color=colour),
        whole.mark_point(filled=True, opacity=1, size=110).encode(
            x="value:Q", y=y, color=colour, shape=shape, description="said:N"
        ),
    )
    return sized(layers, WIDE, 52 + 30 * len(rows))


def _curve(exhibit: Exhibit, rows: list[Row], width: int) -> Chart:
    names = [row["by"] for row in rows]
    x = _x(exhibit, "O" if _named({row["x"] for row in rows}) else "Q")
    bands = [band.encode(x=x) for band in _bands(exhibit, rows, names)]
    lines = alt.Chart(alt.InlineData(values=rows))
    dots: Any = {"size": 36} if bands else alt.Undefined
    lines = lines.mark_line(interpolate="linear", strokeWidth=2, point=dots)
    lines = lines.encode(x=x, y=_y(exhibit), order="place:Q")
    if exhibit.by:
        dashes = scaled(names, SPARE_DASHES, DASHES)
        lines = lines.encode(
            color=coloured("by", names, _LINES),
            strokeDash=alt.StrokeDash("by:N", title=None, scale=dashes),
        )
    else:
        lines = lines.encode(color=alt.value(ACCENT))
    if (exhibit.x, exhibit.y) == ("fpr", "tpr"):
        return roc(lines, rows)
    return sized(alt.layer(*bands, lines), width, 230)


def _bands(exhibit: Exhibit, rows: list[Row], names: list[str]) -> list[Any]:
    """The intervals around every line, where the exhibit has any; they have no part in legends."""
    if not {"from", "to"} <= {*exhibit.columns}:
        return []
    low, high = exhibit.columns["from"], exhibit.columns["to"]
    reach = [row | {"low": low[row["place"]], "high": high[row["place"]]} for row in rows]
    looks = scaled(names, SPARE, COLOURS).to_dict()
    return [
        alt.Chart(alt.InlineData(values=[row for row in reach if row["by"] == name]))
        .mark_area(opacity=0.12, color=colour)
        .encode(y="low:Q", y2="high:Q")
        for name, colour in zip(looks["domain"], looks["range"], strict=True)
    ]


def _named(places: set[Any]) -> bool:
    """Whether what lies side by side is called by words."""
    return bool(places) and all(isinstance(place, str) for place in places)


def _bars(exhibit: Exhibit, rows: list[Row], width: int) -> Chart:
    names, panel = [row["by"] for row in rows], panel_of(exhibit)
    if len({row["x"] for row in rows}) > _THRONG and not panel:
        return _points(exhibit, rows, width)
    bars: Any = alt.Chart(alt.InlineData(values=rows)).mark_bar()
    bars = bars.encode(x=_x(exhibit, "N"), y=_y(exhibit), description="said:N")
    if exhibit.by:
        order = list(dict.fromkeys(names))
        bars = bars.encode(xOffset=alt.XOffset("by:N", sort=order), color=coloured("by", names))
    else:
        bars = bars.encode(color=alt.value(ACCENT))
    if not panel:
        return sized(bars, width, 260)
    order = list(dict.fromkeys(row["panel"] for row in rows))
    facet = alt.Row("panel:N", sort=order, header=_header())
    bars = bars.encode(y=_y(exhibit, 3).title(exhibit.y))
    panels: Chart = bars.properties(width=width - 50, height=60).facet(row=facet, spacing=14)
    return panels


def _header() -> alt.Header:
    return alt.Header(title=None, labelOrient="top", labelAnchor="start", labelColor=INK,
                      labelFontWeight="bold", labelPadding=4)  # fmt: skip


def _points(exhibit: Exhibit, rows: list[Row], width: int) -> Chart:
    points = alt.Chart(alt.InlineData(values=rows)).mark_point(filled=True, opacity=0.9, size=50)
    kind = "N" if exhibit.kind == "bars" else "Q"
    points = points.encode(x=_x(exhibit, kind), y=_y(exhibit), description="said:N")
    names = [row["by"] for row in rows]
    if not exhibit.by:
        return sized(points.encode(color=alt.value(ACCENT)), width, 280)
    shapes = alt.Shape("by:N", title=None, scale=scaled(names, ["circle"], SHAPES))
    points = points.encode(color=coloured("by", names), shape=shapes)
    return _side_by_side(points, rows) if panel_of(exhibit) else sized(points, width, 280)


def _side_by_side(points: alt.Chart, rows: list[Row]) -> Chart:
    """One cloud of many small points a panel, on the same axes."""
    order = list(dict.fromkeys(row["panel"] for row in rows))
    facet = alt.Column("panel:N", sort=order, header=_header())
    width = (WIDE - _AXIS) / len(order) - _GAP
    axis = alt.Axis(tickCount=5, grid=False)
    panels: Chart = (
        points.encode(x=points.encoding.x.axis(axis))
        .mark_point(filled=True, opacity=0.75, size=22)
        .properties(width=width, height=min(width, 280))
        .facet(column=facet, spacing=_GAP)
    )
    return panels


def _matrix(exhibit: Exhibit, rows: list[Row], width: int) -> Chart:
    """Darker is more: one colour at growing strength, which follows the page into the dark."""
    whole = alt.Chart(alt.InlineData(values=rows))
    key = alt.Legend(symbolFillColor=ACCENT, symbolType="square", tickCount=4)
    scale = alt.Scale(range=[0.04, 1])
    strength = alt.Opacity("shade:Q", title=_shade_of(exhibit), scale=scale, legend=key)
    y = alt.Y("y:N", sort=None, title=_AXES.get(exhibit.y, exhibit.y))
    cells = whole.mark_rect(color=ACCENT).encode(opacity=strength, description="said:N")
    frames = whole.mark_rect(filled=False, stroke=RULE)  # apart, or the faint ones were lost
    layers = alt.layer(cells, frames).encode(x=_x(exhibit, "N"), y=y)
    return sized(layers, width, min(520, 180 + 22 * len({row["y"] for row in rows})))


def _rows(exhibit: Exhibit) -> list[Row]:
    """Rows with fixed keys, so that a column may be named as it likes; gaps are left out."""
    keys = {"x": exhibit.x, "y": exhibit.y, "by": exhibit.by,
            "shade": _shade_of(exhibit), "panel": panel_of(exhibit)}  # fmt: skip
    spare = [name for name in exhibit.columns if name not in keys.values()]
    size = max((len(values) for values in exhibit.columns.values()), default=0)
    rows = []
    for place in range(size):
        row = {k: exhibit.columns[name][place] if name else "" for k, name in keys.items()}
        if row["x"] is not None and row["y"] is not None:
            who = [f"{name} {exhibit.columns[name][place]}" for name in spare]
            words = ", ".join([*who, str(row["by"])]) if who else said(row, exhibit)
            rows.append(row | {"place": place, "said": words})
    return rows


def said(row: Row, exhibit: Exhibit) -> str:
    """One mark in words, for whoever points at it."""
    value = row["shade"] if exhibit.kind == "matrix" else row["y"]
    where = ", ".join(str(row[k]) for k in ("panel", "by") if row[k] not in ("", None))
    told = number(float(value)) if isinstance(value, int | float) else str(value)
    place = number(row["x"]) if isinstance(row["x"], float) else row["x"]
    side = f", {exhibit.y} {row['y']}" if exhibit.kind == "matrix" else ""
    return f"{exhibit.x} {place}{side}{', ' if where else ''}{where}: {told}"


def _shade_of(exhibit: Exhibit) -> str:
    """The column of numbers that fills a matrix."""
    if exhibit.kind != "matrix":
        return ""
    rest = [n for n in exhibit.columns if n not in {exhibit.x, exhibit.y, exhibit.by}]
    return rest[0] if rest else exhibit.by


def _x(exhibit: Exhibit, kind: str) -> alt.X:
    title = _AXES.get(exhibit.x, exhibit.x)
    if kind == "N":
        axis = alt.Axis(labelAngle=0, labelOverlap="parity", labelSeparation=14, grid=False)
        gaps = alt.Scale(paddingInner=0 if exhibit.kind == "matrix" else 0.25)
        return alt.X("x:N", sort=None, title=title, axis=axis, scale=gaps)
    if kind == "O":
        axis = alt.Axis(labelAngle=0, labelOverlap="parity", labelPadding=8, grid=False)
        return alt.X("x:O", sort=None, title=None, axis=axis)
    if exhibit.x == "labels":
        known = sorted({v for v in exhibit.columns["labels"] if isinstance(v, int)})
        each = alt.Axis(values=known, format="d", grid=False)
        return alt.X("x:Q", title=title, axis=each, scale=alt.Scale(type="log", nice=False))
    whole = exhibit.x == "step"
    steps: dict[str, Any] = {"tickMinStep": 1, "format": "d"} if whole else {}
    axis = alt.Axis(tickCount=6, grid=False, **steps)
    return alt.X("x:Q", title=title, axis=axis, scale=alt.Scale(zero=False, nice=not whole))


def _y(exhibit: Exhibit, ticks: int = 5) -> alt.Y:
    title = _HEIGHTS.get(exhibit.y, exhibit.y)
    rate = exhibit.y in _RATES and exhibit.x not in {"bits", "standing"}
    scale = alt.Scale(domain=[0, 1]) if rate else alt.Scale()
    return alt.Y("y:Q", title=title, axis=alt.Axis(tickCount=ticks), scale=scale)


def _words() -> alt.Axis:
    return alt.Axis(
        ticks=False,
        domain=False,
        grid=False,
        labelColor=INK,
        labelPadding=10,
        labelLimit=0,
        minExtent=84,  # a reader's font may be wider than that of the drawing
    )
