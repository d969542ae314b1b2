"""Files that are no ledgers are left alone; where nothing can be written, nothing is lost."""

import os
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from expunge import Ledger
from expunge.errors import CannotRead, CannotWrite, LedgerTampered
from expunge.ledger import chain


def test_reading_makes_no_file(path):
    with Ledger(path) as ledger:
        with pytest.raises(CannotRead, match="does not exist"):
            ledger.verify()
        with pytest.raises(CannotRead, match="does not exist"):
            iter(ledger)
    assert not [*path.parent.iterdir()]


def test_reading_changes_no_byte(filled, verify):
    before = {p.name: p.read_bytes() for p in filled.parent.iterdir()}
    verify(filled)
    assert {p.name: p.read_bytes() for p in filled.parent.iterdir()} == before


def test_an_empty_file_is_no_ledger_yet_but_becomes_one(path, verify):
    path.touch()
    with pytest.raises(CannotRead, match="is empty"):
        verify(path)
    with Ledger(path) as ledger:
        ledger.append("note", {})
    assert verify(path)


@pytest.mark.parametrize("content", [b"hello\n", b"x" * 5000])
def test_a_file_of_another_kind_is_left_alone(path, content):
    path.write_bytes(content)
    with Ledger(path) as ledger:
        with pytest.raises(CannotRead, match="is no ledger"):
            ledger.verify()
        with pytest.raises(CannotRead, match="is no ledger"):
            ledger.append("note", {})
    assert path.read_bytes() == content
    assert not path.with_name("ledger.db.key").exists()


@pytest.mark.parametrize("mark", ["CREATE TABLE t (x)", "PRAGMA application_id = 7"])
def test_somebody_elses_database_is_left_alone(path, mark, settle):
    with closing(sqlite3.connect(path)) as db:
        db.execute(mark)
        db.commit()
    before = path.read_bytes()
    with Ledger(path) as ledger:
        with pytest.raises(CannotRead, match="but no ledger of expunge"):
            ledger.verify()
        with pytest.raises(CannotRead, match="but no ledger of expunge"):
            settle(ledger)
    assert path.read_bytes() == before


def test_a_newer_ledger_is_refused(filled, verify):
    with closing(sqlite3.connect(filled)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(CannotRead, match="version 2, this expunge reads version 1"):
        verify(filled)


def test_a_folder_is_no_ledger(tmp_path):
    with Ledger(tmp_path) as ledger:
        with pytest.raises(CannotRead, match="is not a file"):
            ledger.verify()
        with pytest.raises(CannotRead, match="is not a file"):
            ledger.append("note", {})


def test_a_missing_folder_is_said_and_not_made(tmp_path):
    place = tmp_path / "nowhere" / "ledger.db"
    with Ledger(place) as ledger, pytest.raises(CannotWrite, match="there is no folder"):
        ledger.append("note", {})
    assert not place.parent.exists()


def test_odd_characters_in_a_path_are_only_characters(tmp_path, verify):
    place = tmp_path / "a b?mode=ro#é%20.db"
    with Ledger(place) as ledger:
        ledger.append("note", {})
    assert place.exists()
    assert verify(place)


@contextmanager
def powerless(folder):
    """Be somebody who may look and not write, even where tests run as the superuser."""
    user = os.geteuid()
    for place in [*folder.glob("*.db"), folder]:
        place.chmod(0o555 if place.is_dir() else 0o444)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


@pytest.fixture
def public():
    """A folder that every user can reach, unlike pytest's own."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_folder_that_may_not_be_written_is_said_before_long_work(public):
    ledger = Ledger(public / "ledger.db")
    with powerless(public), pytest.raises(CannotWrite, match="Permission denied"):
        ledger.begin()


def test_a_folder_that_may_not_be_entered_is_said(public):
    (public / "shut").mkdir(0o000)
    with powerless(public), Ledger(public / "shut" / "ledger.db") as ledger:
        with pytest.raises(CannotRead, match="Permission denied"):
            ledger.verify()
        with pytest.raises(CannotWrite, match="Permission denied"):
            ledger.append("note", {})


def test_a_ledger_that_may_only_be_read_verifies_and_refuses_entries(public, settle, verify):
    path = public / "ledger.db"
    with Ledger(path) as ledger:
        head = settle(ledger)
    with powerless(public):  # a superuser becomes one who may not read the key either
        assert verify(path, head) == head
        with Ledger(path) as ledger, pytest.raises(CannotWrite, match="readonly") as caught:
            ledger.append("note", {})
    assert "allow writing" in caught.value.hint
    assert verify(path) == head


def test_a_full_disk_loses_nothing(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount")
    try:
        with Ledger(place / "ledger.db") as ledger:
            ledger.append("note", {})
            head = ledger.verify()
            with pytest.raises(CannotWrite, match="every earlier entry is kept"):
                ledger.append("note", {"text": "x" * 80_000})
            assert ledger.verify() == head
            ledger.append("note", {})
            ledger.verify(head)
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("died", ["lay", "add"])
def test_a_ledger_that_could_not_be_made_can_be_made_later(path, monkeypatch, settle, died):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(chain, died, full)
    with Ledger(path) as ledger, pytest.raises(CannotWrite, match="full"):
        settle(ledger)
    key = path.with_name(f"{path.name}.key").read_text()
    monkeypatch.undo()
    with Ledger(path) as ledger:
        assert settle(ledger)
    assert path.with_name(f"{path.name}.key").read_text() == f"{key}\n"


def test_a_ledger_that_somebody_else_holds_is_said(filled, monkeypatch, verify):
    monkeypatch.setattr("expunge.ledger.ledger._PATIENCE", 0.05)
    with closing(sqlite3.connect(filled, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with Ledger(filled) as ledger, pytest.raises(CannotWrite, match="locked"):
            ledger.append("note", {})
    verify(filled)


VANISHING = pytest.mark.parametrize("vanish", [Path.unlink, lambda path: path.write_bytes(b"")])


@VANISHING
def test_a_ledger_that_vanished_beside_its_key_is_not_begun_anew(filled, settle, vanish):
    key = filled.with_name(f"{filled.name}.key")
    vanish(filled)
    with pytest.raises(LedgerTampered, match="missing or empty"), Ledger(filled) as ledger:
        settle(ledger)
    key.unlink()
    with Ledger(filled) as ledger:
        assert settle(ledger)


@VANISHING
@pytest.mark.parametrize("read", [Ledger.verify, list, Ledger.is_begun])
def test_reading_tells_a_ledger_that_vanished_from_one_that_never_was(filled, vanish, read):
    vanish(filled)
    with pytest.raises(LedgerTampered, match="its key is still there"), Ledger(filled) as ledger:
        read(ledger)
    filled.with_name(f"{filled.name}.key").unlink()
    with Ledger(filled) as ledger:
        assert not ledger.is_begun()
