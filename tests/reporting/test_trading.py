"""What removal costs, where several attempts at one attribute stand side by side."""

import re
from dataclasses import replace
from importlib.resources import files

from expunge.judging import judge
from expunge.reporting import overview
from expunge.reporting.trading import tradeoffs


def judged(*found):
    return [(evidence, judge(evidence), "") for evidence in found]


def test_every_attempt_and_the_original_have_a_place(attempt):
    cases = judged(
        attempt("Detach", 1.0, left=0.2, use=0.91),
        attempt("Detach", 5.0, left=0.05, use=0.85),
        attempt("Leace", 1.0, left=0.1, use=0.8),
    )
    (figure,) = tradeoffs(cases)
    assert figure.title == "What it costs to remove glasses"
    names = ("original", "Detach, weight 1", "Detach, weight 5", "Leace")
    assert [figure.picture.count(f">{name}<") for name in names] == [1, 1, 1, 1]
    assert "Detach, weight 5: 0.0500 bits left, accuracy 0.850" in figure.picture
    html = overview(cases).html
    assert figure.title in html
    assert html.index("Usefulness") < html.index(figure.title) < html.index('id="case-1"')


def test_the_picture_follows_the_page_into_the_dark(attempt):
    style = (files("expunge.reporting") / "page.css").read_text()
    (figure,) = tradeoffs(judged(attempt("A", 1.0), attempt("B", 2.0)))
    for paint, colour in re.findall(r'\b(fill|stroke)="([^"]*)"', figure.picture):
        assert colour in {"none", "transparent"} or f'[{paint}="{colour}"]' in style


def test_one_attempt_or_one_that_was_not_measured_makes_no_picture(attempt, make):
    one, other = attempt("Detach", 1.0), attempt("Leace", 1.0)
    assert not tradeoffs(judged(one))
    assert not tradeoffs(judged(one, replace(other, measurements=other.measurements[1:])))
    assert not tradeoffs(judged(one, replace(other, request_ids=("another",))))
    assert not tradeoffs(judged(make(), make()))
