"""Heat maps and pictures of samples in a page."""

import re
from dataclasses import replace
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
import torch

from expunge.algebra.picturing import heat
from expunge.judging import judge
from expunge.metric import Exhibit
from expunge.reporting import render
from expunge.reporting.charts import figures
from expunge.reporting.pictures import heat_maps, pictured

HOSTILE = '"><script>alert(1)</script>'


def maps():
    names = ("original", "unlearned")
    rows = [(c, r, 0.5 * (c == r), name) for name in names for r in range(2) for c in range(3)]
    column, row, share, model = zip(*rows, strict=True)
    columns = {"column": column, "row": row, "attribution": share, "model": model}
    return Exhibit("matrix", "Where", columns, x="column", y="row")


def samples(*addresses):
    columns = {
        "sample": ["1"] * len(addresses),
        "model": [f"m{place}" for place in range(len(addresses))],
        "picture": list(addresses),
    }
    return Exhibit("pictures", "Samples", columns, x="model", y="sample")


def test_every_model_has_a_map_and_cells_without_strength_are_not_drawn():
    root = ET.fromstring(heat_maps(maps()))
    assert [e.text for e in root.iter("text")] == ["original", "unlearned"]
    assert [e.get("d") for e in root.iter("path")] == ["M0 0h1v1h-1zM1 1h1v1h-1z"] * 2
    assert "unlearned, strongest at row 0, column 0 (0.500)" in root.get("aria-label")


def test_colours_of_maps_follow_the_page():
    style = (files("expunge.reporting") / "page.css").read_text()
    for attribute, colour in re.findall(r'\b(fill|stroke)="([^"]*)"', heat_maps(maps())):
        assert colour == "none" or f'[{attribute}="{colour}"]' in style


def test_a_full_size_heat_map_stays_small():
    rows = [(c, r, 1.0 + c, n) for n in "abc" for r in range(16) for c in range(16)]
    names = ("column", "row", "attribution", "model")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    assert len(heat_maps(Exhibit("matrix", "t", columns, x="column", y="row"))) < 16_000


def test_a_map_of_nothing_is_still_drawn():
    found = maps()
    empty = replace(found, columns={**found.columns, "attribution": [0.0] * 12})
    assert not [*ET.fromstring(heat_maps(empty)).iter("path")]


def test_pictures_have_words_and_are_files_in_themselves():
    address = heat(torch.eye(3))
    images = re.findall(r"<img [^>]*>", pictured(samples(address, address)))
    alone = f'<img src="{address}" alt="sample 1, m{{}}" width="96">'
    assert images == [alone.format(0), alone.format(1)]


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/x.png",
        "data:text/html;base64,AAAA",
        "data:image/svg+xml;base64,AAAA",
        f"data:image/png;base64,AAAA{HOSTILE}",
        "data:image/png;base64,AAAA\n",
        HOSTILE,
        None,
        7,
    ],
)
def test_what_is_no_small_file_is_not_shown(address):
    assert "<img" not in pictured(samples(address))
    assert "script" not in pictured(samples(address))


def test_texts_in_pictures_and_maps_cannot_become_markup():
    columns = {key: [HOSTILE] for key in ("a", "b", "c", "d")}
    for drawn in (
        heat_maps(Exhibit("matrix", HOSTILE, columns, x="a", y="b")),
        pictured(Exhibit("pictures", HOSTILE, columns, x="a", y="b")),
    ):
        assert "<script>" not in drawn
    for exhibit in (maps(), samples()):
        empty = replace(exhibit, columns={name: [] for name in exhibit.columns})
        assert "script" not in (pictured if exhibit.kind == "pictures" else heat_maps)(empty)


def test_a_page_shows_pictures_that_its_policy_allows(evidence):
    first, *rest = evidence.measurements
    shown = replace(first, exhibit=samples(heat(torch.eye(3))))
    given = replace(evidence, measurements=(shown, replace(rest[0], exhibit=maps()), *rest[1:]))
    html = render(given, judge(given)).html
    policy = re.search(r'content="(default-src[^"]*)"', html)[1]
    assert "img-src data:;" in policy
    assert re.findall(r'src="(.{11})', html) == ["data:image/"]
    assert "holds the samples themselves" in html
    assert {"Where", "Samples"} <= {figure.title for figure in figures(given)}
