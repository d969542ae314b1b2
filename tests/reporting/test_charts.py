import re
from dataclasses import replace
from importlib.resources import files
from xml.etree import ElementTree as ET

import altair as alt
import pytest
import vl_convert

from expunge.metric import Exhibit
from expunge.reporting.charts import figures, tabulated
from expunge.reporting.drawing import draw, is_wide, panel_of
from expunge.reporting.svg import svg

KINDS = ["curve", "bars", "many bars", "panels", "matrix", "points", "layers", "labels"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_exhibit_is_valid_vega_lite(exhibits, kind):
    spec = draw(exhibits[kind]).to_dict()
    alt.Chart.from_dict(spec)
    assert vl_convert.vegalite_to_vega(spec)["marks"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_colour_of_a_picture_is_one_that_the_page_can_change(exhibits, kind):
    style = (files("expunge.reporting") / "page.css").read_text()
    drawn = str(svg(draw(exhibits[kind]), "words"))
    for attribute, colour in re.findall(r'\b(fill|stroke)="([^"]*)"', drawn):
        known = colour in {"none", "transparent"} or f'[{attribute}="{colour}"]' in style
        assert known, f"{attribute} {colour}"


def test_unknown_series_get_colours_that_the_page_can_change():
    names = [f"layer {k}" for k in range(9)]
    columns = {"a": [0, 1] * 9, "b": [1, 2] * 9, "by": [n for n in names for _ in "ab"]}
    exhibit = Exhibit("curve", "t", columns, x="a", y="b", by="by")
    style = (files("expunge.reporting") / "page.css").read_text()
    colours = set(re.findall(r'stroke="(#[^"]*)"', svg(draw(exhibit), "")))
    assert all(f'[stroke="{colour}"]' in style for colour in colours)


def test_a_picture_says_in_words_what_it_shows_and_brings_no_ids(exhibits):
    root = ET.fromstring(svg(draw(exhibits["bars"]), 'words & "more"'))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'words & "more"')
    assert not [e for e in root.iter() if e.get("id") or e.get("href")]
    assert "class 3, unlearned: 0.600" in [e.text for e in root.iter("title")]


def test_column_names_may_hold_anything():
    columns = {"a.b[0]": [1, 2], 'it\'s "y"': [0.5, None]}
    exhibit = Exhibit("points", "t", columns, x="a.b[0]", y='it\'s "y"')
    drawn = str(svg(draw(exhibit), ""))
    assert "a.b[0]" in drawn
    assert drawn.count("<title>") == 1  # the gap is left out


def test_a_spare_column_of_words_becomes_panels(exhibits):
    assert panel_of(exhibits["panels"]) == "model"
    assert panel_of(exhibits["bars"]) == ""
    texts = [e.text for e in ET.fromstring(svg(draw(exhibits["panels"]), "")).iter("text")]
    assert {"original", "unlearned"} <= set(texts)


def test_many_bars_take_the_whole_width(exhibits):
    assert is_wide(exhibits["many bars"])
    assert not is_wide(exhibits["bars"])


def test_a_table_is_a_table(exhibits):
    html = tabulated(exhibits["table"])
    assert html.count('<th scope="col">') == 2
    assert "<td>0.250</td>" in html


def test_figures_come_with_what_decides_first_and_the_trace_last(evidence):
    titles = [figure.title for figure in figures(evidence)]
    assert titles[0] == "test accuracy, removed classes: what decides"
    assert titles[-1] == "loss while unlearning"
    assert len(titles) == 5


def test_without_references_no_difference_is_drawn(make):
    assert not [f for f in figures(make(references=False)) if "what decides" in f.title]


def test_the_few_numbers_of_a_picture_are_told_in_words(evidence):
    found = next(f for f in figures(evidence) if f.title == "Test accuracy by class")
    assert "2, 0.600, unlearned" in found.picture


def test_a_long_trace_is_thinned_but_keeps_its_ends(make):
    evidence = make()
    evidence.provenance.traces["loss"] = [(step, 1.0) for step in range(10_000)]
    drawn = next(f for f in figures(evidence) if f.title.startswith("loss")).picture
    assert len(drawn) < 20_000


def looked(evidence, name="validation accuracy"):
    """The evidence of a method that looked at two accuracies while it worked."""
    seen = [(step, 0.9) for step in range(0, 50, 10)]
    traces = {"forget accuracy": [(0, 0.7), (5, 0.4), (40, 0.1)], name: seen}
    return replace(
        evidence,
        provenance=replace(evidence.provenance, traces=traces | evidence.provenance.traces),
    )


@pytest.mark.parametrize("name", ["validation accuracy", "retain accuracy"])
def test_two_accuracies_share_one_picture_and_the_loss_stays_alone(evidence, name):
    *_, accuracy, loss = figures(looked(evidence, name))
    assert (accuracy.title, loss.title) == ("accuracy while unlearning", "loss while unlearning")
    texts = [e.text for e in ET.fromstring(accuracy.picture).iter("text")]
    assert {"forget accuracy", name, "accuracy", "step", "1.0"} <= set(texts)
    assert f"accuracy by step: forget accuracy, {name}" in accuracy.picture
    assert "should fall" in accuracy.caption


def test_lines_on_one_picture_differ_in_colour_and_in_dash(evidence):
    *_, accuracy, _ = figures(looked(evidence))
    lines = [
        e for e in ET.fromstring(accuracy.picture).iter("path") if e.get("stroke-width") == "2"
    ]
    looks = {(e.get("stroke"), e.get("stroke-dasharray")) for e in lines}
    assert len(looks) == len({stroke for stroke, _ in looks}) == len({d for _, d in looks}) == 2


def test_an_accuracy_that_nothing_shares_keeps_its_name(evidence):
    alone = looked(evidence, "forget accuracy")
    title = "forget accuracy while unlearning"
    found = next(f for f in figures(alone) if f.title == title)
    assert "validation" not in found.picture


def test_places_with_names_stand_side_by_side_and_bring_their_intervals(exhibits):
    drawn = str(svg(draw(exhibits["layers"]), ""))
    assert is_wide(exhibits["layers"])
    assert not is_wide(exhibits["labels"])
    assert drawn.count(">the logits<") == 1
    assert drawn.count(">unlearned<") == 1
    areas = re.findall(r'<path[^>]*opacity="0.12"', drawn)
    assert len({*areas}) >= 2  # a band for each model


def test_labels_stand_where_doubling_is_a_step(exhibits):
    spec = draw(exhibits["labels"]).to_dict()
    (x,) = {str(layer["encoding"]["x"]["axis"]["values"]) for layer in spec["layer"]}
    assert x == "[16, 64]"


def test_what_decides_about_an_attribute_is_drawn_with_its_floor(attempt):
    titles = [figure.title for figure in figures(attempt("Leace", 1.0))]
    assert [title for title in titles if "what decides" in title] == [
        "conditional leakage (bits), glasses: what decides",
        "re-attack above an untrained model (bits), glasses: what decides",
    ]
    first, *_ = figures(attempt("Leace", 1.0))
    assert "unlearned: 0.020 [" in first.picture
    assert "Floor 0.01" in first.picture


def test_a_curve_of_an_attack_is_drawn_twice_where_few_false_alarms_are_seen():
    fpr = [k / 400 for k in range(401)]
    columns = {"fpr": fpr, "tpr": [x**0.5 for x in fpr], "model": ["unlearned"] * 401}
    drawn = draw(Exhibit("curve", "t", columns, x="fpr", y="tpr", by="model")).to_dict()
    whole, near = drawn["hconcat"]
    (scale,) = {str(layer["encoding"]["x"].get("scale")) for layer in near["layer"][1:]}
    assert "'log'" in scale
    assert "0.0025" in scale
    coarse = {"fpr": [0.0, 0.25, 1.0], "tpr": [0.0, 0.5, 1.0], "model": ["unlearned"] * 3}
    assert "hconcat" not in draw(Exhibit("curve", "t", coarse, "fpr", "tpr", "model")).to_dict()
    assert whole["layer"]
