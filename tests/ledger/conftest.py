"""A settled request, a ledger of five entries, and somebody who wants to change it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest

from expunge import Evidence, Ledger, Request, Samples, judge
from expunge.auditing import Provenance


@pytest.fixture
def asked():
    return Request(
        Samples((3, 14159)),
        subject="user-1842",
        id="r1",
        due=datetime(2031, 2, 3, tzinfo=UTC),
        reason="by mail",
    )


@pytest.fixture
def verdict():
    return judge(make_evidence())


@pytest.fixture
def evidence():
    return make_evidence


def make_evidence(request_id="r1"):
    provenance = Provenance(
        kind="samples",
        targets=({"kind": "samples", "count": 2},),
        counts={"forget": 2, "retain": 7, "test": 5},
        tier="smoke",
        method="Finetune",
        settings={"epochs": 2},
        seed=0,
        seconds=1.5,
        notes=(),
        traces={},
        digests={"original": "aa", "unlearned": "bb"},
        reference_seeds=(),
        versions={},
        machine="a desk",
        audit_seconds=0.1,
    )
    return Evidence((request_id,), (), provenance)


@pytest.fixture
def settle(asked, verdict):
    """Settle a request, by default the one that was asked."""

    def settled(ledger, request=asked):
        return ledger.settle(request, make_evidence(request.id), verdict)

    return settled


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def filled(path, settle):
    """A ledger of five entries: opened, settled, and three notes."""
    with Ledger(path, project="clinic") as ledger:
        settle(ledger)
        for number in range(3):
            ledger.append("note", {"number": number})
    return path


@pytest.fixture
def verify():
    def verified(path, seal="", **settings):
        with Ledger(path, **settings) as ledger:
            return ledger.verify(seal)

    return verified


@pytest.fixture
def tamper():
    return change_behind_its_back


def change_behind_its_back(path, *statements):
    """What somebody with the file and a SQLite shell can do, the triggers put back afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type='trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(*statement) if isinstance(statement, tuple) else db.execute(statement)
        for _, sql in triggers:
            db.execute(sql)
