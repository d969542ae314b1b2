"""Whoever edits, cuts, swaps or forges is noticed, by the chain or by an earlier seal."""

import re
import sqlite3
from contextlib import closing

import pytest

from expunge import Ledger
from expunge.errors import CannotRead, LedgerTampered
from expunge.ledger import chain


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET body = '{}' WHERE position = 3",
        "DELETE FROM entry WHERE position = 5",
        "DELETE FROM entry",
        "INSERT OR REPLACE INTO entry SELECT 3, kind, '{}', digest FROM entry WHERE position = 3",
        "INSERT INTO entry VALUES (9, 'note', '{}', '')",
        "INSERT INTO entry VALUES (NULL, 'note', '{}', '')",
    ],
)
def test_the_file_itself_refuses_to_be_edited(filled, statement, verify):
    with closing(sqlite3.connect(filled)) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)
    verify(filled)


@pytest.mark.parametrize("column", ["kind", "body", "digest"])
@pytest.mark.parametrize("position", range(1, 6))
def test_an_edited_entry_is_named(filled, position, column, verify, tamper):
    tamper(filled, f"UPDATE entry SET {column} = {column} || ' ' WHERE position = {position}")
    with pytest.raises(LedgerTampered, match=f"entry {position} was changed"):
        verify(filled)


@pytest.mark.parametrize("column", ["kind", "body", "digest"])
def test_bytes_that_are_no_text_are_an_edit_too(filled, column, verify, tamper):
    tamper(filled, f"UPDATE entry SET {column} = CAST(x'7bff7d' AS TEXT) WHERE position = 3")
    with pytest.raises(LedgerTampered, match="entry 3 was changed"):
        verify(filled)


def test_any_flipped_byte_of_the_rules_is_told_in_words(filled, verify):
    whole, head = filled.read_bytes(), verify(filled)
    for at in range(whole.index(b"CREATE TABLE"), whole.index(b") STRICT")):
        filled.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(LedgerTampered):
            verify(filled)
    filled.write_bytes(whole)
    assert verify(filled) == head


@pytest.mark.parametrize("position", range(1, 5))
def test_a_missing_entry_is_named(filled, position, verify, tamper):
    tamper(filled, f"DELETE FROM entry WHERE position = {position}")
    with pytest.raises(LedgerTampered, match=f"entry {position} is missing"):
        verify(filled)


@pytest.mark.parametrize("position", range(2, 5))
def test_closing_the_gap_does_not_help(filled, position, verify, tamper):
    gone = f"DELETE FROM entry WHERE position = {position}"
    tamper(filled, gone, f"UPDATE entry SET position = position - 1 WHERE position > {position}")
    with pytest.raises(LedgerTampered, match=f"entry {position} was changed"):
        verify(filled)


def test_two_swapped_entries_are_noticed(filled, verify, tamper):
    moves = ((9, 3), (3, 4), (4, 9))
    tamper(filled, *(f"UPDATE entry SET position = {a} WHERE position = {b}" for a, b in moves))
    with pytest.raises(LedgerTampered, match="entry 3 was changed"):
        verify(filled)


def test_an_entry_put_in_between_is_noticed(filled, verify, tamper):
    tamper(
        filled,
        "UPDATE entry SET position = -position",
        "UPDATE entry SET position = -position WHERE position >= -2",
        "UPDATE entry SET position = 1 - position WHERE position < 0",
        ("INSERT INTO entry VALUES (3, 'note', ?, ?)", ('{"version":1}', "0" * 64)),
    )
    with pytest.raises(LedgerTampered, match="entry 3 was changed"):
        verify(filled)


def test_a_cut_tail_is_noticed_by_the_seal_of_a_report(filled, verify, tamper):
    seal = verify(filled)
    tamper(filled, "DELETE FROM entry WHERE position = 5")
    verify(filled)  # the chain alone cannot see it
    with pytest.raises(LedgerTampered, match="cut short"):
        verify(filled, seal)


def test_a_chain_written_anew_from_the_middle_is_noticed_by_an_earlier_seal(filled, verify, tamper):
    with Ledger(filled) as ledger:
        first, second, third, *_, last = ledger
    with closing(sqlite3.connect(filled)) as db:
        rows = db.execute("SELECT position, kind, body FROM entry").fetchall()
    forged, previous = [], second.digest
    for position, kind, text in rows[2:]:
        changed = text.replace('"number":0', '"number":7')
        previous = chain._seal(position, previous, kind, changed)
        forged.append(
            ("UPDATE entry SET body=?, digest=? WHERE position=?", (changed, previous, position))
        )
    tamper(filled, *forged)
    verify(filled)  # it is a perfect chain
    for kept in (first, second):
        verify(filled, kept.digest)
    for lost in (third, last):
        with pytest.raises(LedgerTampered, match="written anew"):
            verify(filled, lost.digest)


@pytest.mark.parametrize(
    ("kind", "text"), [("settled", '{"version":1}'), ("note", "[]"), ("note", "no JSON")]
)
def test_an_entry_that_says_nothing_is_noticed_even_in_a_perfect_chain(
    filled, kind, text, verify, tamper
):
    with Ledger(filled) as ledger:
        *_, last = ledger
    digest = chain._seal(6, last.digest, kind, text)
    tamper(filled, ("INSERT INTO entry VALUES (6, ?, ?, ?)", (kind, text, digest)))
    with pytest.raises(LedgerTampered, match="entry 6 is not what"):
        verify(filled)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER entry_is_final",
        "DROP TRIGGER entry_is_kept",
        "CREATE TRIGGER quiet BEFORE INSERT ON entry BEGIN SELECT RAISE(IGNORE); END",
        "CREATE TABLE more (x)",
        "ALTER TABLE entry RENAME TO entries",
    ],
)
def test_changed_rules_are_noticed(filled, statement, verify):
    with closing(sqlite3.connect(filled)) as db:
        db.execute(statement)
    with pytest.raises(LedgerTampered, match="rules"):
        verify(filled)


def test_notes_that_sqlite_keeps_for_itself_are_no_alarm(filled, verify):
    with closing(sqlite3.connect(filled)) as db:
        db.execute("ANALYZE")
    verify(filled)


def test_nothing_is_read_from_a_forgery_and_nothing_sealed_on_top_of_it(filled, tamper):
    tamper(filled, "UPDATE entry SET body = '{}' WHERE position = 3")
    before = filled.read_bytes()
    with Ledger(filled) as ledger:
        with pytest.raises(LedgerTampered):
            iter(ledger)
        with pytest.raises(LedgerTampered):
            ledger.append("note", {})
    assert filled.read_bytes() == before


def test_all_entries_gone_is_noticed(filled, verify, tamper):
    tamper(filled, "DELETE FROM entry")
    with pytest.raises(LedgerTampered, match="first entry is missing"):
        verify(filled)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_file_cut_short_is_never_taken_for_whole(path, share, verify):
    with Ledger(path) as ledger:
        for number in range(30):
            ledger.append("note", {"number": number, "text": "x" * 200})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((LedgerTampered, CannotRead), match=re.escape(str(path))):
        verify(path)


def test_another_projects_ledger_is_refused(filled, verify):
    with pytest.raises(LedgerTampered, match="opened for 'clinic', not for 'bank'"):
        verify(filled, project="bank")
    with Ledger(filled, project="bank") as ledger, pytest.raises(LedgerTampered, match="another"):
        ledger.append("note", {})


def test_a_seal_of_another_ledger_is_an_alarm(filled, tmp_path, verify):
    with Ledger(tmp_path / "other.db") as other:
        seal = other.append("note", {}).digest
    with pytest.raises(LedgerTampered, match="another ledger"):
        verify(filled, seal)
