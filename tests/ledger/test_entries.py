"""What is entered is kept, and a person's name is not."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from expunge import Ledger, Request, Samples
from expunge.errors import BadSetting, RequestDoesNotFit


def test_a_settlement_keeps_what_must_be_answered_for(path, settle):
    with Ledger(path, project="clinic") as ledger:
        seal = settle(ledger)
        opened, settled = ledger
    assert opened.kind == "opened"
    assert opened.body["project"] == "clinic"
    assert (settled.position, settled.kind, settled.digest) == (2, "settled", seal)
    body = settled.body
    assert body["request"] == "r1"
    assert body["counts"] == {"forget": 2, "retain": 7, "test": 5}
    assert (body["original"], body["unlearned"]) == ("aa", "bb")
    assert body["verdict"]["word"] == "inconclusive"
    assert body["verdict"]["degraded"] is False
    assert body["due"] == "2031-02-03T00:00:00Z"
    assert body["version"] == 1
    assert datetime.fromisoformat(body["settled"]).utcoffset().total_seconds() == 0


def test_the_evidence_digest_is_what_sha256sum_prints_for_the_file(path, settle, evidence):
    with Ledger(path) as ledger:
        settle(ledger)
        *_, settled = ledger
    assert settled.body["evidence"] == sha256(evidence().to_json().encode()).hexdigest()


def test_neither_the_subject_nor_a_sample_is_in_the_file(filled):
    stored = filled.read_bytes()
    assert b"user-1842" not in stored
    assert b"14159" not in stored
    assert b"r1" in stored


def test_the_same_subject_has_one_hash_within_a_ledger_and_another_in_the_next(tmp_path, settle):
    seen = []
    for name in ("a.db", "b.db"):
        with Ledger(tmp_path / name) as ledger:
            settle(ledger)
            settle(ledger)
            seen.append({e.body["subject"] for e in ledger if e.kind == "settled"})
    assert [len(hashes) for hashes in seen] == [1, 1]
    assert seen[0] != seen[1]


@pytest.mark.parametrize("where", ["reason", "id"])
def test_a_name_in_a_free_text_is_refused(path, where, evidence, verdict):
    request = Request(
        Samples((1,)), subject="Ann Lee", **{"id": "r1", where: "for ann lee, by mail"}
    )
    with Ledger(path) as ledger, pytest.raises(BadSetting, match=f"{where} of request"):
        ledger.settle(request, evidence(request.id), verdict)


def test_a_subject_that_is_only_part_of_a_word_is_no_name(path, settle):
    request = Request(Samples((1,)), subject="ail", id="r1", reason="by mail")
    with Ledger(path) as ledger:
        settle(ledger, request)


def test_evidence_of_another_request_is_refused_before_anything_is_made(
    path, evidence, asked, verdict
):
    with Ledger(path) as ledger, pytest.raises(RequestDoesNotFit, match="about request r2, not r1"):
        ledger.settle(asked, evidence("r2"), verdict)
    assert not [*path.parent.iterdir()]


def test_a_naive_date_of_receipt_is_kept_in_utc(path, settle):
    received = datetime(2030, 1, 1, 12)  # noqa: DTZ001 - as a careless caller has it
    request = Request(Samples((1,)), id="r1", received=received)
    with Ledger(path) as ledger:
        settle(ledger, request)
        *_, settled = ledger
    assert datetime.fromisoformat(settled.body["received"]) == received.astimezone()


def test_a_closed_ledger_is_taken_up_again(path):
    ledger = Ledger(path)
    ledger.append("note", {})
    ledger.close()
    ledger.close()
    ledger.append("note", {})
    assert [entry.position for entry in ledger] == [1, 2, 3]
    ledger.close()


def test_an_entry_can_be_added_while_others_are_read(filled):
    with Ledger(filled) as ledger:
        for entry in ledger:
            ledger.append("note", {"about": entry.position})
        assert len([*ledger]) == 10


@pytest.mark.parametrize("kind", ["opened", "settled", "", "Note", "x" * 40, "a;b"])
def test_a_kind_that_is_ours_or_no_word_is_refused(path, kind):
    with Ledger(path) as ledger, pytest.raises(BadSetting, match="cannot be of the kind"):
        ledger.append(kind, {})
    assert not path.exists()


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x", "\udcff", datetime.now(UTC)])
def test_a_body_that_is_not_json_is_refused(path, value):
    with Ledger(path) as ledger, pytest.raises(BadSetting, match="is not JSON"):
        ledger.append("note", {"value": value})
    assert not path.exists()


def test_a_reason_that_is_no_text_is_refused_and_nothing_is_entered(filled, settle, verify):
    head = verify(filled)
    request = Request(Samples((1,)), id="r1", reason="\udcff")
    with Ledger(filled) as ledger, pytest.raises(BadSetting, match="is not JSON"):
        settle(ledger, request)
    assert verify(filled) == head
