"""Several writers, and writers that die, leave one whole chain."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from expunge import Ledger

WRITER = """
import sys
from expunge import Ledger
with Ledger(sys.argv[1]) as ledger:
    for number in range(int(sys.argv[2])):
        ledger.append("note", {"number": number, "writer": sys.argv[3], "text": "x" * 3000})
        print(number, flush=True)
"""


def writer(path, count, name):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count), name], stdout=subprocess.PIPE
    )


def test_two_processes_share_one_chain_from_its_first_entry_on(path):
    both = [writer(path, 20, name) for name in ("a", "b")]
    assert [process.communicate(timeout=120) and process.returncode for process in both] == [0, 0]
    with Ledger(path) as ledger:
        _, *notes = ledger
    for name in ("a", "b"):
        assert [e.body["number"] for e in notes if e.body["writer"] == name] == [*range(20)]


def test_a_killed_writer_leaves_every_entry_it_reported(path):
    with Ledger(path) as ledger:
        ledger.append("note", {})
    reported = 0
    for turn in range(3):
        process = writer(path, 10_000, str(turn))
        process.stdout.readline()
        time.sleep(0.02 * turn)
        process.send_signal(signal.SIGKILL)
        reported += 1 + len(process.communicate()[0].splitlines())
        with Ledger(path) as ledger:
            assert len([*ledger]) >= 2 + reported
            ledger.append("note", {"after": turn})
            reported += 1


def test_what_a_killed_writer_left_half_done_is_rolled_back(filled, tmp_path, verify):
    """A journal beside the file, as after a power cut in the middle of a write."""
    head = verify(filled)
    crashed = tmp_path / "crashed.db"
    with closing(sqlite3.connect(filled, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size = 1")
        db.execute("PRAGMA cache_spill = 1")
        db.execute("BEGIN IMMEDIATE")
        for position in range(6, 60):
            row = (position, "note", "x" * 3000, "")
            db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", row)
        crashed.write_bytes(filled.read_bytes())
        journal = Path(f"{filled}-journal").read_bytes()
        Path(f"{crashed}-journal").write_bytes(journal)
        db.execute("ROLLBACK")
    assert crashed.stat().st_size > filled.stat().st_size
    assert verify(crashed) == head
