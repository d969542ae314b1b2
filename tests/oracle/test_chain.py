"""The chain, computed again from its definition with nothing but the standard library."""

import hmac
import json
import sqlite3
from contextlib import closing
from hashlib import sha256

import pytest

from expunge import Ledger
from expunge.ledger import chain
from expunge.ledger.key import Key


def seal(position, previous, kind, body):
    """SHA-256 over version, position, previous seal, kind and body, each after its length."""
    parts = ["1", str(position), previous, kind, body]
    return sha256(b"".join(b"%d:%b" % (len(p.encode()), p.encode()) for p in parts)).hexdigest()


@pytest.fixture
def rows(tmp_path):
    with Ledger(tmp_path / "ledger.db", key=bytes(range(32)), project="Zürich") as ledger:
        ledger.append("note", {"b": 1, "a": "ü\n\"'\0 雪", "deep": [{"x": None}, 0.1, -0.0]})
        ledger.append("another note", {})
        head = ledger.verify()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        return head, db.execute("SELECT * FROM entry ORDER BY position").fetchall()


def test_the_chain_is_what_its_definition_says(rows):
    head, entries = rows
    previous = ""
    for expected, (position, kind, body, digest) in enumerate(entries, start=1):
        previous = seal(position, previous, kind, body)
        assert (position, digest) == (expected, previous)
    assert head == previous
    assert len(entries) == 3


def test_known_entries_have_known_seals():
    """Written down once: a change of the format must be noticed, whoever makes it."""
    first = "b29a91849c5ba03c77610d0199d7aa77a013e8bf2b422c0f7e05da395bb7bc7b"
    second = "70a987d669fdbefc01b58f61ab0d29fa9fe1d3008d6fb7bb187b9c3a7428ec34"
    assert chain._seal(1, "", "opened", '{"a":1}') == seal(1, "", "opened", '{"a":1}') == first
    assert chain._seal(2, first, "note", "{}") == seal(2, first, "note", "{}") == second


def test_bodies_are_stored_in_one_form_only(rows):
    _, (_, (_, _, body, _), _) = rows
    again = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again == body


def test_a_subject_is_hashed_by_rfc_2104(rows):
    _, ((_, _, opening, _), *_) = rows
    key = Key(bytes(range(32)))
    block = key.source.ljust(64, b"\0")
    inner = sha256(bytes(b ^ 0x36 for b in block) + "Müller".encode()).digest()
    by_hand = sha256(bytes(b ^ 0x5C for b in block) + inner).hexdigest()
    assert key.hashed("Müller") == by_hand
    assert key.hashed("Müller") == hmac.digest(key.source, "Müller".encode(), "sha256").hex()
    assert json.loads(opening)["key"] == key.fingerprint() != key.hashed("")
