"""How a contest of methods is read: sorted by the gap to retraining, with its price, and drawn."""

from collections.abc import Iterator, Sequence
from math import exp, log
from statistics import mean
from typing import Any

from table import Cell, Row

Run = dict[str, Any]
Standing = tuple[Row, list[Run]]

HEAD = ["passes", "memory, MB"]
READING = """\
*Average gap* is the mean distance to the retrained models in accuracy on the forgotten, the kept
and the unseen samples, and in how many of the forgotten an attack takes for unseen; what each
retrained model scores against the others stands in its row. *Time* is the share of retraining's;
† marks what takes more than {cap:.0%} of it, even with as little as there can be of the setting
that is named; such methods stand below the others. *Passes* counts operations, a forward pass of
the training set being one; *memory* is the peak beyond what was held before, model and data not
counted. *Verdict* is what `expunge.judge` says of every seed; methods that make a model of their
own kind are *not judged*, since their references were made in another way. *Retrained* is the mean
of five models with seeds of their own. *U-LiRA* has other shadow models in every row, unlearned by
its method: only the difference in parentheses says something, and where the row's original is not
caught either, not even that. Methods that read a history or a folder are judged without it.
"""
OWN = ("sisa", "closed_form", "newton_removal")
"""Methods whose original is a model of their own."""

_UNJUDGED = "not judged"
_LINES = 40  # of names that a panel has room for
_WIDE = 0.7  # of a name, in logarithms of time
_LEAST = 0.01  # points that the logarithmic picture begins with
_GAP = "average gap (points)"


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Those that hold to the time first; the smaller the gap, the earlier."""
    return sorted(standings, key=lambda each: (_over(each[1]), _gap(each[1])))


def title(row: Row, runs: Sequence[Run]) -> str:
    """The name, with the effort that was given where it was cut, and a mark where it is over."""
    if not row.effort:
        return row.name + (" †" if _over(runs) else "")
    given = sorted({run["settings"][row.effort] for run in runs})
    told = (
        f" ({row.effort} = {' to '.join(_number(x) for x in (given[0], given[-1])[: len(given)])})"
    )
    return row.name + told + (" †" if _over(runs) else "")


def verdicts(row: Row, runs: Sequence[Run]) -> str:
    """The word, or how often each of several was said; none beside models of another making."""
    if row.method in OWN:
        return _UNJUDGED
    said = [run["verdict"] for run in runs]
    words = sorted(set(said), key=lambda word: -said.count(word))
    if len(words) == 1:
        return words[0]
    return "; ".join(f"{word}: {said.count(word)}" for word in words)


def price(runs: Sequence[Run]) -> list[str]:
    """Passes and memory."""
    held = [run["megabytes"] for run in runs if run["megabytes"] is not None]
    return [f"{mean(run['passes'] for run in runs):.3g}", f"{mean(held):.0f}" if held else "-"]


def exact(standings: Sequence[Standing]) -> Iterator[str]:
    """How far the exact methods are from the same training without the forgotten."""
    for row, runs in standings:
        apart = [run["apart"] for run in runs if run["apart"] is not None]
        if apart:
            yield (
                f"- {row.name}: the largest difference of any weight to the same training without "
                f"the forgotten is {max(apart):.2g}.\n"
            )


def drawn(found: Sequence[tuple[Cell, Sequence[Standing]]]) -> str:
    """Gap against time, a panel a cell, as SVG."""
    import altair as alt  # noqa: PLC0415 - only for the page
    import vl_convert  # noqa: PLC0415

    panels = [_panel(alt, cell, standings) for cell, standings in found if standings]
    chart = alt.vconcat(*panels).configure_view(stroke=None).configure_axis(grid=False)
    svg: str = vl_convert.vegalite_to_svg(chart.to_dict())
    return svg


def _panel(alt: Any, cell: Cell, standings: Sequence[Standing]) -> Any:
    points = [
        {
            "method": row.name,
            "time": mean(run["seconds"] / run["retraining_seconds"] for run in runs),
            "gap": max(_gap(runs), _LEAST),
            "verdict": _word(row, runs),
        }
        for row, runs in standings
    ]
    _place(points)
    base = alt.Chart(alt.InlineData(values=points), width=680, height=460, title=cell.name).encode(
        alt.X("time:Q", title="time, as a share of retraining's")
        .scale(type="log")
        .axis(format="%", tickCount=5),
        alt.Y("gap:Q", title="average gap to retraining, points").scale(type="log"),
    )
    colours = alt.Scale(
        domain=["equivalent", "inconclusive", "residual", _UNJUDGED],
        range=["#2f7d4f", "#8a8a8a", "#b4432f", "#3a6ea5"],
    )
    dots = base.mark_circle(size=60).encode(alt.Color("verdict:N", title="verdict", scale=colours))
    names = base.mark_text(align="left", dx=6, fontSize=9).encode(
        alt.Text("method:N"), alt.Y("label:Q").scale(type="log")
    )
    cap = alt.Chart(alt.InlineData(values=[{"cap": 0.25}])).mark_rule(strokeDash=[4, 4])
    threads = base.mark_rule(color="#bbbbbb").encode(alt.Y2("label:Q"))
    return cap.encode(alt.X("cap:Q")) + threads + dots + names


def _word(row: Row, runs: Sequence[Run]) -> str:
    said = [run["verdict"].split(",")[0] for run in runs]
    return _UNJUDGED if row.method in OWN else max(said, key=said.count)


def _place(points: list[dict[str, Any]]) -> None:
    """Names of neighbours stand one above the other, not one upon the other."""
    gaps = [log(point["gap"]) for point in points]
    line = (max(gaps) - min(gaps)) / _LINES
    placed: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda each: each["gap"]):
        x, y = log(point["time"]), log(point["gap"])
        near = sorted(height for other, height in placed if abs(other - x) < _WIDE)
        for height in near:
            if abs(height - y) < line:
                y = height + line
        placed.append((x, y))
        point["label"] = exp(y)


def _over(runs: Sequence[Run]) -> bool:
    return sum(run["over"] for run in runs) * 2 > len(runs)


def _gap(runs: Sequence[Run]) -> float:
    return mean(run["measurements"][_GAP]["value"] for run in runs)


def _number(value: float) -> str:
    return f"{value:.2g}" if isinstance(value, float) else f"{value:,}"
