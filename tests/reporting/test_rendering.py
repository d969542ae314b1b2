import re
import time
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

from expunge.auditing import Evidence
from expunge.judging import judge
from expunge.metric import Measurement
from expunge.reporting import overview, render
from expunge.reporting.numbers import typeset

VOID = {"meta", "br", "line", "circle", "rect", "path", "link"}


class Outline(HTMLParser):
    """What a reader's machine sees: addresses, ids, headings, and tags left open."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.named, self.headings, self.open = [], [], [], []
        self.addresses, self.cells, self.texts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.named += found.get("aria-labelledby", "").split()
        self.headings += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        self.cells += [found.get("scope")] if tag == "th" else []
        self.addresses += [v for k, v in attrs if k in {"src", "href", "xlink:href", "srcset"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def shown(evidence, **settings):
    return Outline(render(evidence, judge(evidence), **settings).html)


def capital(text):
    return text[:1].upper() + text[1:]


def test_nothing_is_fetched(evidence):
    html = overview([(evidence, judge(evidence), "")]).html
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert "url(" not in html
    assert all(address.startswith("#") for address in Outline(html).addresses)
    assert "default-src 'none'" in html


@pytest.mark.parametrize("kind", ["classes", "samples", "attribute", "mixed"])
@pytest.mark.parametrize("references", [True, False])
def test_every_kind_of_request_is_told_in_well_formed_html(usual, kind, references):
    page = Outline(usual(kind, references=references))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(page.named) <= set(page.ids)
    assert page.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert all(page.cells), "a table header without a scope"


@pytest.mark.parametrize("kind", ["classes", "samples", "attribute"])
def test_the_verdict_and_every_reason_appear_before_any_measurement(make, usual, kind):
    verdict, text = judge(make(kind)), Outline(usual(kind)).text
    reasons = [" ".join(capital(typeset(reason)).split()) for reason in verdict.reasons]
    places = [text.index(verdict.word), *(text.index(reason) for reason in reasons)]
    assert max(places) < text.index("What was measured")


def test_a_loss_of_use_is_said_beside_the_word(evidence, usual):
    assert judge(evidence).degraded
    assert "less useful than retrained ones" in usual()


def test_every_measurement_appears_by_name(evidence, usual):
    text = Outline(usual()).text
    assert all(capital(m.name) in text for m in evidence.measurements)


def test_numbers_stand_with_their_interval_and_the_references(usual):
    text = Outline(usual()).text
    assert "0.512 [0.43, 0.59]" in text
    assert "0.503 0.490 to 0.520" in text
    assert "+0.020 [+0.010, +0.030] inside the margin of ±0.05" in text


def test_what_decides_depends_on_the_request(usual):
    for kind, name in (
        ("samples", "Membership AUC, threshold (loss)"),
        ("classes", "Test accuracy, removed classes"),
    ):
        text = Outline(usual(kind)).text
        start = text.index("These decide.")
        assert start < text.index(name, start) < text.index("These must not suffer.")


def test_what_was_not_measured_says_why(usual):
    assert "Accuracy gap : no reference model was given" in Outline(usual()).text


def test_a_deciding_measurement_that_nobody_took_is_listed_as_missing(evidence):
    bare = replace(evidence, measurements=evidence.measurements[4:])
    text = shown(bare).text
    assert "Test accuracy, removed classes : it was not part of this audit" in text


def test_evidence_without_any_measurement_is_still_a_page(evidence):
    text = shown(replace(evidence, measurements=())).text
    assert "Nothing was measured." in text
    assert "inconclusive" in text


def test_text_from_outside_cannot_become_markup(evidence):
    attack = "<script>alert('x')</script>"
    first = replace(evidence.measurements[0], name=attack, note=attack)
    exhibit = replace(first.exhibit, title=attack, columns={
        **first.exhibit.columns, "model": [attack] * 9})  # fmt: skip
    last = Measurement.missing(attack, attack)
    provenance = replace(
        evidence.provenance, method=attack, settings={attack: attack}, notes=(attack,),
        machine=attack, digests={attack: attack}, versions={attack: attack},
        targets=({"kind": "attribute", "name": attack},), traces={attack: [(1, 1.0), (2, 2.0)]},
        kind="attribute", counts={attack: 3},
    )  # fmt: skip
    measurements = (replace(first, exhibit=exhibit), *evidence.measurements[1:], last)
    hostile = Evidence((attack,), measurements, provenance)
    html = overview([(hostile, judge(hostile), attack)]).html
    assert html.count("<script>") == 1  # the page's own
    assert "alert(" in unescape(html)
    assert Outline(html).open == []


def test_a_seal_is_printed_and_its_absence_is_said(evidence, usual):
    assert "not entered in a ledger" in usual()
    assert "f00d" * 16 in shown(evidence, seal="f00d" * 16).text


def test_what_it_does_not_show_depends_on_the_request(usual):
    hidden, lottery = "A class that is only hidden", "Training is a lottery"
    assert hidden in usual("classes")
    assert hidden not in usual("samples")
    assert "miss most of what a stronger attack finds" in usual("samples")
    assert lottery in usual("samples")
    assert lottery not in usual("samples", references=False)
    assert "for these families of probes" in usual("attribute")
    for kind in ("classes", "samples", "attribute", "mixed"):
        assert "Evidence is never proof." in usual(kind)


def test_a_setting_that_nobody_chose_is_named_and_never_null(evidence):
    settings = {"epochs": 2, "lr": None, "distance": "cosine", "warmup": None}
    left = replace(evidence.provenance, settings=settings, notes=("used: lr = 0.002",))
    text = shown(replace(evidence, provenance=left)).text
    assert "epochs = 2 distance = cosine Not set: lr, warmup" in text
    assert "Used: lr = 0.002." in text
    assert "null" not in text


def test_where_everything_is_set_nothing_is_said_to_be_open(usual):
    assert "Not set" not in usual()


def test_a_foreign_outcome_without_seed_time_or_settings_is_told(evidence):
    foreign = replace(
        evidence.provenance, seed=None, seconds=None, settings={}, notes=(), traces={},
        method="somebody else's",
    )  # fmt: skip
    text = shown(replace(evidence, provenance=foreign)).text
    assert "Time not known, seed not known" in text


def test_a_regression_says_what_makes_no_sense(evidence):
    accuracy = Measurement.missing("accuracy", "it makes no sense for a regression task")
    kept = replace(evidence, measurements=(evidence.measurements[3], accuracy))
    assert "Accuracy : it makes no sense for a regression task" in shown(kept).text


def test_the_same_evidence_gives_the_same_page(evidence):
    again = Evidence.from_json(evidence.to_json())
    first, second = (render(e, judge(e), seal="ab" * 32) for e in (evidence, again))
    assert first.digest == second.digest
    assert first.digest != render(evidence, judge(evidence), seal="cd" * 32).digest


def test_numbers_without_bounds_do_not_stop_the_report(evidence):
    wild = Measurement("odd", float("inf"), interval=(float("-inf"), float("nan")), n=1)
    assert "∞" in shown(replace(evidence, measurements=(wild,))).text


def test_a_page_takes_less_than_three_seconds(evidence):
    verdict = judge(evidence)
    render(evidence, verdict)  # imports
    started = time.process_time()
    render(evidence, verdict)
    assert time.process_time() - started < 3


def test_a_comparison_tells_each_attempt_and_opens_the_first(make):
    cases = [(make(k), judge(make(k)), "") for k in ("classes", "classes", "samples")]
    html = overview(cases).html
    page = Outline(html)
    assert html.count("<details") == 3
    assert html.count("open>") == 1
    assert page.addresses == ["#case-1", "#case-2", "#case-3"]
    assert {"case-1", "case-2", "case-3"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.headings[0] == 1
    assert "3 attempts at 2 requests" in page.text
    assert page.text.index("Forget class 3.") < page.text.index("Forget 11 samples.")
    assert "Original model" in page.text
    assert "Retrained models" in page.text


def test_what_decides_besides_stands_beside_it(make):
    plain = make("classes")
    first = plain.measurement("test accuracy, removed classes")
    again = replace(first, name="relearning steps, removed classes", value=21.5)
    both = replace(plain, measurements=(*plain.measurements, again))
    told, untold = (overview([(each, judge(each), "")]).html for each in (both, plain))
    assert "and relearning steps, removed classes." in Outline(told).text
    assert re.search(r'data-label="What decides too"><span class="figure">21.5', told)
    assert "What decides too" not in untold


def test_what_rows_of_one_group_mean_alike_is_said_once(make):
    plain = make("classes")
    some = [Measurement(f"representation CKA, forget, {layer}", 0.7) for layer in range(3)]
    evidence = replace(plain, measurements=(*plain.measurements, *some))
    text = Outline(render(evidence, judge(evidence)).html).text
    assert text.count("How alike the model and retrained ones see the samples") == 1
    assert text.count("Representation CKA, forget,") == 3


def test_a_comparison_of_nothing_is_a_page():
    assert "0 attempts" in Outline(overview([]).html).text


def test_an_attribute_is_told_by_its_floor_and_not_by_retrained_models(attempt):
    evidence = attempt("Leace", 1.0)
    page = shown(evidence)
    assert "across the floor of 0.01" in page.text
    assert "below the floor of 0.05" in page.text
    assert "Unlearned less retrained" not in page.text
    assert "Nothing that was retrained" in page.text
    residual = shown(attempt("Leace", 1.0, left=0.2))
    assert "The attribute can still be read" in residual.text
