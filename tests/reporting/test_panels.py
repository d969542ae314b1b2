"""Points side by side, and a matrix that says how strong a colour is."""

from xml.etree import ElementTree as ET

import altair as alt

from expunge.metric import Exhibit
from expunge.reporting.drawing import draw, is_wide
from expunge.reporting.svg import svg


def cloud(n=300):
    rows = [(0.01 * k * side, 0.02 * k % 3, group, model, k, k % 10)
            for side, model in ((1.0, "original"), (-1.0, "unlearned"))
            for k in range(n)
            for group in [("kept", "forgotten")[2 * k // n]]]  # fmt: skip
    x, y, groups, models, ids, labels = zip(*rows, strict=True)
    columns = {"first": x, "second": y, "samples": groups, "model": models,
               "sample": ids, "class": labels}  # fmt: skip
    return Exhibit("points", "A map", columns, x="first", y="second", by="samples")


def texts(exhibit):
    return [e.text for e in ET.fromstring(svg(draw(exhibit), "")).iter("text")]


def test_points_with_a_spare_column_of_words_stand_side_by_side():
    assert is_wide(cloud())
    alt.FacetChart.from_dict(draw(cloud()).to_dict())
    assert {"original", "unlearned", "kept", "forgotten"} <= set(texts(cloud()))


def test_a_point_says_whose_it_is_by_its_numbers():
    titles = [e.text for e in ET.fromstring(svg(draw(cloud()), "")).iter("title")]
    assert len(titles) == 600
    assert titles[7] == "sample 7, class 7, kept"


def test_forgotten_points_are_told_by_shape_as_well_as_by_colour():
    drawn = svg(draw(cloud()), "")
    marks = [e for e in ET.fromstring(drawn).iter("path") if len(e)]
    looks = {(e.get("fill"), e.get("d")) for e in marks}
    assert len(looks) == len({colour for colour, _ in looks}) == len({d for _, d in looks}) == 2


def test_six_hundred_points_stay_a_small_picture():
    assert len(svg(draw(cloud()), "")) < 200_000


def test_a_matrix_says_how_strong_a_colour_is():
    columns = {"to": ["a", "b"], "from": ["c", "c"], "share": [0.25, 0.75]}
    found = texts(Exhibit("matrix", "t", columns, x="to", y="from"))
    assert {"share", "a", "b", "c"} <= set(found)


def test_names_of_models_need_no_title_beside_them():
    columns = {"to": ["a", "b"], "model": ["original"] * 2, "share": [0.25, 0.75]}
    found = texts(Exhibit("matrix", "t", columns, x="to", y="model"))
    assert "original" in found
    assert "model" not in found
