"""What removal costs: the task's accuracy against what is left of an attribute."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

from expunge.algebra.statistics import Interval
from expunge.evidence import Evidence
from expunge.lingering import LEAKS
from expunge.metric import Measurement
from expunge.reporting.charts import Figure
from expunge.reporting.comparing import Judged
from expunge.reporting.looks import GREY, INK, WIDE, Row, coloured, sized
from expunge.reporting.numbers import number
from expunge.reporting.svg import svg

_USE = "test accuracy"


@dataclass(frozen=True, slots=True)
class _Place:
    """One model: what is left in it, and of what use it is."""

    who: str
    method: str
    left: Interval
    use: Interval

    @property
    def row(self) -> Row:
        told = f"{self.who}: {number(self.left.value)} bits left, accuracy {number(self.use.value)}"
        return {
            "who": self.who, "method": self.method, "said": told,
            "left": self.left.value, "left_low": self.left.low, "left_high": self.left.high,
            "use": self.use.value, "use_low": self.use.low, "use_high": self.use.high,
        }  # fmt: skip


def tradeoffs(cases: Sequence[Judged]) -> list[Figure]:
    """A picture for every attribute that several attempts at one request were measured on."""
    found = [evidence for evidence, _, _ in cases]
    requests = dict.fromkeys(evidence.request_ids for evidence in found)
    return [
        _drawn(name, places)
        for request in requests
        for name, places in _places([e for e in found if e.request_ids == request])
    ]


def _places(attempts: Sequence[Evidence]) -> Iterator[tuple[str, list[_Place]]]:
    for name in _attributes(attempts[0]):
        measured = [
            (evidence, evidence.measurement(f"{LEAKS}, {name}"), evidence.measurement(_USE))
            for evidence in attempts
        ]
        points = [
            _Place(_called(evidence, attempts), evidence.provenance.method, now, use)
            for evidence, left, useful in measured
            if (now := _now(left)) and (use := _now(useful))
        ]
        if len(points) > 1:
            _, left, useful = measured[0]
            yield name, [*_original(left, useful), *points]


def _attributes(evidence: Evidence) -> list[str]:
    targets = evidence.provenance.targets
    return [target["name"] for target in targets if target["kind"] == "attribute"]


def _now(m: Measurement) -> Interval | None:
    return None if m.value is None or m.interval is None else Interval(m.value, *m.interval)


def _original(left: Measurement, useful: Measurement) -> list[_Place]:
    if left.original is None or useful.original is None:
        return []
    return [_Place("original", "original", left.original, useful.original)]


def _called(evidence: Evidence, attempts: Sequence[Evidence]) -> str:
    """A method, and what tells it from other attempts by the same one."""
    mine = evidence.provenance
    same = [e.provenance.settings for e in attempts if e.provenance.method == mine.method]
    telling = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in mine.settings.items()
        if any(other.get(name) != value for other in same)
    ]
    return ", ".join([mine.method, *telling])


def _drawn(name: str, places: Sequence[_Place]) -> Figure:
    told = "; ".join(place.row["said"] for place in places)
    with debug_mode(False):  # noqa: FBT003 - altair's own, see `charts.figures`
        picture = svg(_chart(places), f"Test accuracy by bits left of {name}. {told}.")
    return Figure(
        f"What it costs to remove {name}",
        picture,
        "The nearer to the upper left corner, the better: less of the attribute is left, and more "
        "of the task. Arms are 95 % intervals; a line joins attempts by one method.",
        wide=True,
    )


def _chart(places: Sequence[_Place]) -> Any:
    rows = sorted((place.row for place in places), key=lambda row: float(row["left"]))
    data, names = alt.InlineData(values=rows), [place.method for place in places]
    left = alt.Axis(tickCount=6, grid=False)
    x = alt.X("left:Q", title="bits left beyond the label", axis=left)
    use = alt.Scale(zero=False)
    y = alt.Y("use:Q", title=_USE, axis=alt.Axis(tickCount=5), scale=use)
    whole = alt.Chart(data).encode(color=coloured("method", names, None))
    arms = whole.mark_rule(strokeWidth=1, opacity=0.5)
    layers = alt.layer(
        alt.Chart(alt.InlineData(values=[{}])).mark_rule(color=GREY).encode(x=alt.datum(0)),
        arms.encode(x=alt.X("left_low:Q"), x2="left_high:Q", y=y),
        arms.encode(x=x, y=alt.Y("use_low:Q", scale=use), y2="use_high:Q"),
        whole.mark_line(strokeWidth=1.5).encode(x=x, y=y, detail="method:N"),
        whole.mark_point(filled=True, opacity=1, size=80).encode(x=x, y=y, description="said:N"),
        alt.Chart(data)
        .mark_text(align="left", dx=9, dy=-9, color=INK)
        .encode(x=x, y=y, text="who:N"),
    )
    return sized(layers, WIDE, 320)
