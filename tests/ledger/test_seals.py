"""A seal finds its entry, and an entry that is gone is missed."""

from pathlib import Path

import pytest

from expunge import Ledger
from expunge.errors import BadSetting, LedgerTampered
from expunge.ledger import chain


def test_verify_returns_the_seal_of_the_last_entry(filled):
    with Ledger(filled) as ledger:
        *_, last = ledger
        assert ledger.verify() == last.digest


def test_every_seal_is_found_whole_or_by_its_start(filled):
    with Ledger(filled) as ledger:
        for entry in ledger:
            assert ledger.verify(entry.digest) == ledger.verify()
            assert ledger.verify(entry.digest[:8].upper()) == ledger.verify()


@pytest.mark.parametrize("seal", ["6310e6d", "x" * 8, "0" * 65, " "])
def test_what_is_no_seal_is_refused(filled, seal, verify):
    with pytest.raises(BadSetting, match="is no seal"):
        verify(filled, seal)


def test_a_seal_that_no_entry_carries_is_an_alarm(filled, verify):
    with pytest.raises(LedgerTampered, match="none of the 5 entries"):
        verify(filled, "0" * 64)


def test_a_start_that_two_seals_share_is_not_enough():
    same = [chain.Entry(i, "note", {}, "abcdef01" + f"{i:056x}") for i in (1, 2)]
    with pytest.raises(LedgerTampered, match="2 of the 2 entries"):
        chain.find(Path("ledger.db"), same, "abcdef01")
    assert chain.find(Path("ledger.db"), same, same[1].digest) is same[1]
