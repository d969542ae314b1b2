"""Pictures: how many are left after so many steps, intervals side by side, and any as SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

_COLOURS = ["#1f5f8b", "#b4432f", "#d98b3a", "#2f7d4f", "#7a5ea8", "#2b2b2b"]
_WIDE = 560


def lasting(steps: Mapping[str, Sequence[float | None]], most: int, title: str) -> str:
    """The share of runs that have not come so far yet; None: not by the end."""
    import altair as alt  # noqa: PLC0415 - only for the page

    points = [
        {"steps": step, "share": sum(x is None or x > step for x in each) / len(each), "of": name}
        for name, each in steps.items()
        for step in sorted({0, most, *(int(x) for x in each if x is not None)})
    ]
    base = alt.Chart(alt.InlineData(values=points), width=_WIDE, height=240)
    return svg(
        base.mark_line(interpolate="step-after").encode(
            alt.X("steps:Q", title="steps").scale(domain=[0, most]),
            alt.Y("share:Q", title=title).axis(format="%").scale(domain=[0, 1]),
            alt.Color("of:N", title=None, sort=[*steps]).scale(range=_COLOURS),
        )
    )


def beside(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """For every ``of`` a value, from ``low`` to ``high``, and others without an interval."""
    import altair as alt  # noqa: PLC0415

    kinds = [*dict.fromkeys(row["kind"] for row in rows)]
    base = alt.Chart(alt.InlineData(values=rows), width=_WIDE, height={"step": 30}).encode(
        alt.Y("of:N", title=None, sort=[*dict.fromkeys(row["of"] for row in rows)]),
        alt.Color("kind:N", title=None, sort=kinds).scale(range=_COLOURS),
    )
    spread = base.mark_rule().encode(alt.X("low:Q"), alt.X2("high:Q"))
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(
        alt.X("value:Q", title=title).scale(zero=False),
        alt.Shape("kind:N", title=None, sort=kinds).legend(None),
    )
    return svg(spread + dots)


def svg(chart: Any) -> str:
    """A chart as it is shown on a page, without frame and grid."""
    import vl_convert  # noqa: PLC0415

    calm = chart.configure_view(stroke=None).configure_axis(grid=False)
    drawn: str = vl_convert.vegalite_to_svg(calm.to_dict())
    return drawn
