"""Evidence: a round trip through JSON, and under which circumstances it came to be."""

import json
import re
from dataclasses import replace

import pytest
import torch

from expunge import Evidence, Request, Samples, split
from expunge.algebra.statistics import Interval
from expunge.attacks.threshold import Threshold
from expunge.auditing import audit
from expunge.errors import CannotRead
from expunge.judging import judge
from expunge.methods.finetune import Finetune
from expunge.metric import Comparison, Exhibit, Measurement
from expunge.metrics.membership import Membership
from expunge.unlearning import seeded

GONE = (11, 13, 17, 19, 23, 29)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize("alone", [True, False])
def test_evidence_survives_a_round_trip_through_json_exactly(make, kind, alone):
    case = make(kind)
    evidence = audit(case.outcome) if alone else case.evidence()
    again = Evidence.from_json(evidence.to_json())
    assert again.to_json() == evidence.to_json()
    assert judge(again) == judge(evidence)
    for one, other in zip(evidence.measurements, again.measurements, strict=True):
        assert replace(one, exhibit=None) == replace(other, exhibit=None)
        if one.exhibit:
            mine, theirs = one.exhibit.columns, other.exhibit.columns
            assert {k: list(v) for k, v in mine.items()} == {k: list(v) for k, v in theirs.items()}
    assert again.request_ids == ("r1",)


def test_what_is_unknown_or_without_end_survives_too(evidence):
    endless = Interval(0.5, -torch.inf, torch.inf)
    odd = (
        Measurement.missing("nothing", "nobody knows"),
        Measurement("wide", 0.5, interval=(-torch.inf, torch.inf), original=endless),
        Measurement("apart", 0.5, comparison=Comparison(endless, 1.0, 0.05)),
        Measurement("bars", 1.0, exhibit=Exhibit("bars", "t", {"a": [1, 0.5, "x", None]})),
    )
    given = replace(evidence, measurements=odd)
    assert Evidence.from_json(given.to_json()).measurements == odd


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"request_ids": ["a"]}'])
def test_what_is_not_evidence_is_refused(text):
    with pytest.raises(CannotRead, match="not evidence"):
        Evidence.from_json(text)


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "classes"},
        {"kind": "classes", "labels": []},
        {"kind": "classes", "labels": "abc"},
        {"kind": "samples"},
        {"kind": "attribute"},
        {"kind": "names"},
    ],
)
def test_evidence_that_does_not_say_what_was_asked_is_refused(evidence, target):
    body = json.loads(evidence.to_json())
    body["provenance"]["targets"] = [target]
    with pytest.raises(CannotRead, match="what was to be forgotten"):
        Evidence.from_json(json.dumps(body))


def test_evidence_of_a_newer_expunge_is_refused(evidence):
    body = json.loads(evidence.to_json()) | {"version": 2}
    with pytest.raises(CannotRead, match="version"):
        Evidence.from_json(json.dumps(body))


def test_digests_follow_weights_and_data(case, evidence):
    first = evidence.provenance.digests
    with seeded(5):
        changed = replace(case.outcome, after=case.recipe.build().eval())
    second = audit(changed, [Membership(Threshold())]).provenance.digests
    assert second["unlearned"] != first["unlearned"]
    assert second["original"] == first["original"]
    fewer = split(
        case.data("classification", 60, 9),
        Request(Samples(GONE)),
        test=case.data("classification", 37, 9),
    )
    third = audit(replace(case.outcome, split=fewer), []).provenance.digests
    for name in ("training data", "test data"):
        assert third[name] != first[name] == second[name]


def test_provenance_tells_what_is_needed_to_repeat_it(evidence):
    found = evidence.provenance
    assert found.method == "finetune"
    assert found.settings == Finetune(epochs=1).describe()
    assert (found.kind, found.seed, found.reference_seeds) == ("samples", 0, (0, 1, 2))
    assert found.counts == {"forget": 6, "retain": 54, "test": 37}
    assert found.margins["membership AUC, threshold (loss)"] == {"margin": 0.05}
    assert found.margins["accuracy"] == {"margin": 0.05, "utility_margin": 0.01}
    assert {"expunge", "torch", "numpy", "scipy", "python"} <= found.versions.keys()
    assert {"original", "unlearned", "reference 0", "reference 2"} <= found.digests.keys()


def test_evidence_holds_no_position_of_a_forgotten_sample(evidence):
    body = json.loads(evidence.to_json())
    assert body["provenance"]["targets"][0].keys() == {"kind", "count"}

    def lists(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from lists(item)
        elif isinstance(value, list):
            yield value
            for item in value:
                yield from lists(item)

    for found in lists(body):
        numbers = {x for x in found if isinstance(x, int | float) and not isinstance(x, bool)}
        assert not set(GONE) <= numbers
    assert not re.search(r"11, *13, *17", evidence.to_json())
