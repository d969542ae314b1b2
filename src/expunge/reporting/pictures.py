"""Heat maps side by side, and pictures of samples with their maps.

A heat map is a few paths of one colour at growing strength, so that it follows the page into the
dark; pictures of samples are small files inside the page, and nothing else may be an address.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from markupsafe import Markup, escape

from expunge.metric import Exhibit
from expunge.reporting.drawing import panel_of
from expunge.reporting.looks import ACCENT, INK, RULE
from expunge.reporting.numbers import number

_SIDE, _GAP, _HEAD = 284, 24, 24  # of one map: three of them are as wide as the page
_LEVELS = 16  # strengths that an eye can tell apart, and more
_EMBEDDED = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")

Cell = float | int | str | None


def heat_maps(exhibit: Exhibit) -> Markup:
    """A matrix for every panel, side by side, shaded on one scale."""
    panel, y, x = panel_of(exhibit), exhibit.columns[exhibit.y], exhibit.columns[exhibit.x]
    names, shades = exhibit.columns[panel], _shades(exhibit, panel)
    columns, rows = _places(x), _places(y)
    most = max(shades, default=0.0) or 1.0
    levels: dict[tuple[Cell, int], list[str]] = defaultdict(list)
    for name, column, row, shade in zip(names, x, y, shades, strict=True):
        level = round(_LEVELS * max(0.0, shade) / most)
        if level:
            levels[name, level].append(f"M{columns[column]} {rows[row]}h1v1h-1z")
    size, panels = (max(1, len(columns)), max(1, len(rows))), dict.fromkeys(names)
    drawn = "".join(_panel(place, name, levels, size) for place, name in enumerate(panels))
    height = _HEAD + _SIDE * size[1] / size[0]
    box = f"0 0 {max(3, len(panels)) * (_SIDE + _GAP) - _GAP} {height:g}"
    said = escape(f"{exhibit.title}: {'; '.join(_strongest(exhibit, n, shades) for n in panels)}.")
    svg = f'<svg viewBox="{box}" role="img" aria-label="{said}">{drawn}</svg>'
    return Markup(svg)  # noqa: S704 - every text in it was escaped


def pictured(exhibit: Exhibit) -> Markup:
    """A table of pictures: one row a sample, one column a model."""
    models, samples = (dict.fromkeys(exhibit.columns[name]) for name in (exhibit.x, exhibit.y))
    rest = [v for k, v in exhibit.columns.items() if k not in {exhibit.x, exhibit.y}]
    places = zip(exhibit.columns[exhibit.y], exhibit.columns[exhibit.x], strict=True)
    found = dict(zip(places, rest[0] if rest else (), strict=False))
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in models)
    lines = (
        f'<tr><th scope="row">{escape(sample)}</th>'
        + "".join(f"<td>{_image(found.get((sample, m)), exhibit, sample, m)}</td>" for m in models)
        + "</tr>"
        for sample in samples
    )
    first = f'<th scope="col">{escape(exhibit.y)}</th>'
    table = f"<thead><tr>{first}{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return Markup(f'<table class="pictures">{table}</table>')  # noqa: S704 - every text in it was escaped


def _image(file: Cell, exhibit: Exhibit, sample: Cell, model: Cell) -> str:
    """A picture that is a small file in itself; whatever else stands there is not shown."""
    if not isinstance(file, str) or not _EMBEDDED.fullmatch(file):
        return "–"  # noqa: RUF001 - a dash for what is not there
    said = escape(f"{exhibit.y} {sample}, {model}")
    return f'<img src="{file}" alt="{said}" width="96">'


def _panel(
    place: int, name: Cell, levels: dict[tuple[Cell, int], list[str]], size: tuple[int, int]
) -> str:
    """One map: its name, its frame, and one path for every strength."""
    width, height = size
    scale, left = _SIDE / width, place * (_SIDE + _GAP)
    paths = "".join(
        f'<path fill="{ACCENT}" fill-opacity="{level / _LEVELS:.2g}" d="{"".join(cells)}"/>'
        for (owner, level), cells in sorted(levels.items(), key=lambda item: item[0][1])
        if owner == name
    )
    return (
        f'<text x="{left}" y="14" font-size="12" fill="{INK}">{escape(name)}</text>'
        f'<rect x="{left}" y="{_HEAD}" width="{_SIDE}" height="{scale * height:g}" fill="none" '
        f'stroke="{RULE}"/><g transform="translate({left} {_HEAD}) scale({scale:g})">{paths}</g>'
    )


def _strongest(exhibit: Exhibit, name: Cell, shades: Sequence[float]) -> str:
    """Where one map is darkest, in words."""
    names = exhibit.columns[panel_of(exhibit)]
    at = max((i for i, own in enumerate(names) if own == name), key=lambda i: shades[i])
    where = ", ".join(f"{k} {exhibit.columns[k][at]}" for k in (exhibit.y, exhibit.x))
    return f"{name}, strongest at {where} ({number(shades[at])})"


def _shades(exhibit: Exhibit, panel: str) -> list[float]:
    used = {exhibit.x, exhibit.y, exhibit.by, panel}
    rest = [v for k, v in exhibit.columns.items() if k not in used]
    values = rest[0] if rest else [0] * len(exhibit.columns[panel])
    return [value if isinstance(value, (int, float)) else 0.0 for value in values]


def _places(values: Sequence[Cell]) -> dict[Cell, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(values))}
