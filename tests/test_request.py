"""A request says what must go, for whom, and since when."""

import json
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from expunge import Attribute, Classes, Request, Samples
from expunge.errors import RequestDoesNotFit
from expunge.request import describe, kind_of

TARGETS = {
    "samples": (Samples((3, 14)), {"kind": "samples", "indices": [3, 14]}),
    "classes": (Classes((7,)), {"kind": "classes", "labels": [7]}),
    "attribute": (Attribute("glasses"), {"kind": "attribute", "name": "glasses"}),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_every_target_describes_itself_as_json(kind):
    target, expected = TARGETS[kind]
    assert describe(target) == expected
    assert json.loads(json.dumps(describe(target))) == expected
    assert kind_of(target) == kind


def test_a_range_of_samples_is_described_by_its_numbers():
    assert describe(Samples(range(2, 8, 3))) == {"kind": "samples", "indices": [2, 5]}


def test_requests_tell_themselves_apart_and_know_when_they_came():
    before = datetime.now(UTC)
    first, second = Request(Classes((1,))), Request(Classes((1,)))
    assert first.id != second.id
    assert before <= first.received <= datetime.now(UTC)
    assert first.received.tzinfo is UTC


def test_what_nobody_said_stays_unsaid():
    request = Request(Classes((1,)))
    assert (request.subject, request.due, request.reason) == ("", None, "")


def test_a_request_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Request(Classes((1,))).reason = "another"


def test_a_second_target_is_no_subject():
    with pytest.raises(TypeError, match="positional"):
        Request(Attribute("sex"), Attribute("race"))


@pytest.mark.parametrize("target", [(1, 2), None, 3, "glasses", Samples])
def test_positions_alone_are_no_target(target):
    with pytest.raises(RequestDoesNotFit, match="cannot target"):
        Request(target)


def test_what_can_be_read_once_is_written_down():
    assert Samples(iter((3, 4))).indices == (3, 4)
    assert Classes(k for k in (1, 2)).labels == (1, 2)
