"""How things look in every picture: colours, dashes, shapes and sizes, each by its name.

Every colour here is a key in `page.css`, so that a picture follows the page into the dark and onto
paper.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

INK, QUIET, RULE = "#1d2126", "#5b636d", "#dfe2e6"
ACCENT, GREY, DARK, BAND = "#1f5fa8", "#9aa1ab", "#2b3038", "#d9e6f5"
NARROW, WIDE = 430, 900

COLOURS = {"original": GREY, "unlearned": ACCENT, "retrained": DARK,
            "forgotten": ACCENT, "unseen": GREY, "kept": GREY}  # fmt: skip
DASHES = {"original": [5, 3], "unlearned": [1, 0], "retrained": [1.5, 2.5]}
SHAPES = {"original": "square", "unlearned": "diamond", "retrained": "circle",
           "forgotten": "diamond"}  # fmt: skip
SPARE = (ACCENT, DARK, "#735400", "#7d3b8c", "#1d6b3f", GREY)
SPARE_DASHES = ([1, 0], [5, 3], [1.5, 2.5], [8, 3, 1.5, 3])
_USUAL = alt.Legend()

Row = dict[str, Any]
Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart


def sized(chart: Any, width: int, height: int) -> Chart:
    """The whole picture in this size, axes and legend included."""
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    sized: Chart = chart.properties(width=width, height=height, autosize=fit)
    return sized


def coloured(field: str, names: Sequence[str], legend: alt.Legend | None = _USUAL) -> alt.Color:
    """A colour for every name: the usual one, or a spare one."""
    scale = scaled(names, SPARE, COLOURS)
    return alt.Color(f"{field}:N", title=None, legend=legend, scale=scale)


def scaled(names: Sequence[str], spare: Sequence[Any], known: dict[str, Any]) -> alt.Scale:
    """Every name its usual look, and one of the spare looks for a name nobody has met."""
    domain = list(dict.fromkeys(str(name) for name in names))
    looks = [known.get(name, spare[place % len(spare)]) for place, name in enumerate(domain)]
    return alt.Scale(domain=domain, range=looks)
