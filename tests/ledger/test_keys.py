"""The key is made once, and whoever destroys it forgets the subjects and nothing else."""

import os

import pytest

from expunge import Ledger, Request, Samples
from expunge.errors import BadSetting, CannotRead, LedgerTampered


def test_the_key_file_is_made_once_and_for_its_owner_only(path):
    key = path.with_name("ledger.db.key")
    with Ledger(path) as ledger:
        ledger.append("note", {})
        made = key.read_text()
        ledger.append("note", {})
    assert key.read_text() == made
    assert len(bytes.fromhex(made)) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == ["ledger.db", "ledger.db.key"]


def test_a_destroyed_key_forgets_the_subject_and_the_chain_still_verifies(filled, verify):
    filled.with_name("ledger.db.key").unlink()
    assert verify(filled)
    with Ledger(filled) as ledger:
        assert len([*ledger]) == 5
        ledger.append("note", {"key": "destroyed"})


def test_a_destroyed_key_is_not_silently_replaced(filled, settle):
    key = filled.with_name("ledger.db.key")
    key.unlink()
    with Ledger(filled) as ledger:
        with pytest.raises(CannotRead, match="is gone") as caught:
            settle(ledger)
        assert "settle without a subject" in caught.value.hint
        settle(ledger, Request(Samples((1,)), id="r1"))
    assert not key.exists()


def test_a_key_that_will_be_needed_is_asked_for_before_long_work(filled):
    filled.with_name("ledger.db.key").unlink()
    with Ledger(filled) as ledger:
        ledger.begin()
        with pytest.raises(CannotRead, match="is gone"):
            ledger.begin("user-1842")


def test_a_key_with_other_content_is_noticed(filled, settle, verify):
    filled.with_name("ledger.db.key").write_text("ab" * 32)
    with pytest.raises(LedgerTampered, match="key was exchanged"):
        verify(filled)
    with Ledger(filled) as ledger, pytest.raises(LedgerTampered, match="key was exchanged"):
        settle(ledger)


@pytest.mark.parametrize("content", [b"", b"not hexadecimal", b"ab", b"\xff\xfe" * 20])
def test_a_key_file_without_a_key_is_said(filled, content, verify):
    filled.with_name("ledger.db.key").write_bytes(content)
    with pytest.raises(CannotRead, match="is no key file"):
        verify(filled)


def test_a_key_may_be_bytes_and_then_no_file_is_made(path, settle, verify):
    with Ledger(path, key=b"k" * 32) as ledger:
        settle(ledger)
    assert [p.name for p in path.parent.iterdir()] == ["ledger.db"]
    assert verify(path, key=b"k" * 32) == verify(path)
    with pytest.raises(LedgerTampered, match="the key that was given") as caught:
        verify(path, key=b"j" * 32)
    assert "jjj" not in str(caught.value)


def test_a_key_may_lie_elsewhere(path, tmp_path, settle, verify):
    place = tmp_path / "safe.key"
    with Ledger(path, key=str(place)) as ledger:
        settle(ledger)
    assert place.exists()
    assert verify(path, key=place)


def test_a_key_that_could_be_guessed_is_refused(path):
    with Ledger(path, key=b"secret") as ledger, pytest.raises(BadSetting, match="6 bytes"):
        ledger.append("note", {})
    assert not path.exists()


def test_a_key_can_be_made_where_files_cannot_be_linked(path, monkeypatch, settle, verify):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with Ledger(path) as ledger:
        settle(ledger)
    key = path.with_name("ledger.db.key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert verify(path)


def test_the_first_of_two_keys_made_at_once_stays(path, monkeypatch, verify):
    key = path.with_name("ledger.db.key")
    link = os.link

    def late(source, target):
        key.write_text("cd" * 32 + "\n")  # another process was faster
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with Ledger(path) as ledger:
        ledger.append("note", {})
    assert key.read_text() == "cd" * 32 + "\n"
    assert verify(path)
