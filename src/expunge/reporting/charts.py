"""Which pictures a report shows, in which order, and what is said about them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from altair.utils.schemapi import debug_mode
from markupsafe import Markup, escape

from expunge.algebra.statistics import Interval
from expunge.auditing import Evidence
from expunge.judging import deciding
from expunge.method import Trace
from expunge.metric import Comparison, Exhibit, Measurement
from expunge.reporting.drawing import draw, forest, is_wide, panel_of
from expunge.reporting.numbers import number, with_interval
from expunge.reporting.pictures import Cell, heat_maps, pictured
from expunge.reporting.svg import svg
from expunge.reporting.wording import caption

if TYPE_CHECKING:
    from expunge.reporting.looks import Row

_MOST = 300  # points of a line, more than an eye can tell apart
_TOLD = 60  # marks that are also told in words


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, what it is called, and how to read it."""

    title: str
    picture: Markup
    caption: str
    wide: bool = False


def figures(evidence: Evidence) -> list[Figure]:
    """The deciding differences first, then every exhibit, then how unlearning went."""
    primary = deciding(evidence)
    first = [m for m in evidence.measurements if m.name in primary]
    rest = [m for m in evidence.measurements if m.name not in primary]
    with debug_mode(False):  # noqa: FBT003 - altair's own; checking every part takes half the time
        drawn = [_forest(m, m.comparison) for m in first if m.comparison]
        drawn += [_floored(m, m.floor) for m in first if m.floor is not None]
        drawn += [_shown(m.exhibit, m.name) for m in (*first, *rest) if m.exhibit]
        return drawn + _traces(evidence.provenance.traces)


def _forest(m: Measurement, comparison: Comparison) -> Figure:
    compared = {"original": m.control, "unlearned": comparison, "retrained": m.selftest}
    rows: list[Row] = [
        {"who": _WHO[name], "model": name, "low": c.difference.low, "high": c.difference.high,
         "value": c.difference.value, "said": f"{_WHO[name]}: {_said(c.difference)}"}
        for name, c in compared.items() if c
    ]  # fmt: skip
    told = "; ".join(str(row["said"]) for row in rows)
    margin = comparison.margin
    words = f"{m.name}, difference to the retrained models with 95 % intervals. {told}"
    return Figure(
        f"{m.name}: what decides",
        svg(
            forest(rows, "difference to the retrained models", (-margin, margin)),
            f"{words}. Margin ±{margin:.3g}.",
        ),
        f"Each line is a 95 % interval. The shaded band is the margin of ±{margin:.3g}: a "
        "difference within it would not matter. The original should lie outside the band, "
        "a retrained model around its middle, and the unlearned one wholly inside.",
        wide=True,
    )


def _floored(m: Measurement, floor: float) -> Figure:
    """What is left of an attribute, and what was there to be removed."""
    now = Interval(m.value or 0.0, *m.interval) if m.value is not None and m.interval else None
    found = {"original": m.original, "unlearned": now}
    rows: list[Row] = [
        {"who": name, "model": name, "low": span.low, "high": span.high, "value": span.value,
         "said": f"{name}: {with_interval(span.value, span.low, span.high)}"}
        for name, span in found.items() if span
    ]  # fmt: skip
    told = "; ".join(str(row["said"]) for row in rows)
    return Figure(
        f"{m.name}: what decides",
        svg(forest(rows, "bits", (0.0, floor)), f"{m.name}. {told}. Floor {floor:.3g}."),
        f"Each line is a 95 % interval. The shaded band ends at the floor of {floor:.3g} bits: so "
        "little would not matter. The unlearned model should reach no higher than the band; the "
        "original shows what there was to remove.",
        wide=True,
    )


def _said(found: Interval) -> str:
    return with_interval(found.value, found.low, found.high, signed=True)


_WHO = {"original": "original", "unlearned": "unlearned", "retrained": "retrained"}


def _shown(exhibit: Exhibit, name: str) -> Figure:
    told = f"From: {name}. {caption(exhibit)}".strip()
    if exhibit.kind == "table":
        return Figure(exhibit.title, tabulated(exhibit), told, wide=len(exhibit.columns) > 2)
    if exhibit.kind == "pictures":
        return Figure(exhibit.title, pictured(exhibit), told, wide=True)
    if exhibit.kind == "matrix" and panel_of(exhibit):
        return Figure(exhibit.title, heat_maps(exhibit), told, wide=True)
    return Figure(exhibit.title, svg(draw(exhibit), _alt(exhibit)), told, is_wide(exhibit))


def _traces(traces: Mapping[str, Trace]) -> list[Figure]:
    """How unlearning went: “forget accuracy” and “validation accuracy” share a picture."""
    together: dict[tuple[str, str], dict[str, Trace]] = defaultdict(dict)
    for name, trace in traces.items():
        if len(trace) > 1:
            together[name.rpartition(" ")[1:]][name] = _thinned(trace)
    return [_went(quantity, found) for (_, quantity), found in together.items()]


def _went(quantity: str, traces: Mapping[str, Trace]) -> Figure:
    rows = [(at, value, name) for name, trace in traces.items() for at, value in trace]
    steps, values, names = ([*column] for column in zip(*rows, strict=True))
    columns = {"step": steps, quantity: values, "trace": names}
    title, by = (quantity, "trace") if len(traces) > 1 else (names[0], "")
    exhibit = Exhibit("curve", f"{title} while unlearning", columns, "step", quantity, by)
    return Figure(exhibit.title, svg(draw(exhibit), _alt(exhibit)), caption(exhibit))


def _thinned(trace: Trace) -> Trace:
    return [*trace[: -1 : -(-len(trace) // _MOST)], trace[-1]]


def tabulated(exhibit: Exhibit) -> Markup:
    """An exhibit's columns as a table."""
    names = list(exhibit.columns)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = zip(*(exhibit.columns[name] for name in names), strict=True)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(v))}</td>' for v in row)}</tr>" for row in lines
    )
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")  # noqa: S704 - escaped above


def _cell(value: Cell) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - a dash for what is not there
    return number(value) if isinstance(value, float) else str(value)


def _alt(exhibit: Exhibit) -> str:
    """What the picture shows, in words: every number where they are few, else what is compared."""
    names = dict.fromkeys(str(v) for v in exhibit.columns.get(exhibit.by, ()))
    series = f": {', '.join(names)}" if names else ""
    start = f"{exhibit.title}, {exhibit.y} by {exhibit.x}{series}."
    size = len(exhibit.columns.get(exhibit.x, ()))
    if exhibit.kind != "bars" or size > _TOLD:
        return start
    lines = zip(*exhibit.columns.values(), strict=True)
    return f"{start} {'; '.join(', '.join(_cell(v) for v in line) for line in lines)}."
