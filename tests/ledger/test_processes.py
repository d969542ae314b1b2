"""Several writers, and writers that die, leave one whole chain."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from expunge import Ledger

# A process that has imported everything is forked for every writer: to import takes seconds.
WRITERS = """
import os
import sys

from expunge import Ledger

children = 0
for line in sys.stdin:
    if line == "wait\\n":
        print(sum(os.wait()[1] != 0 for _ in range(children)), flush=True)
        children = 0
        continue
    path, count, name = line.split()
    if child := os.fork():
        children += 1
        print(child, flush=True)
        continue
    with Ledger(path) as ledger, open(f"{path}-{name}", "w") as said:
        for number in range(int(count)):
            ledger.append("note", {"number": number, "writer": name, "text": "x" * 3000})
            print(number, file=said, flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def writers():
    command = [sys.executable, "-c", WRITERS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        yield parent


def told(writers, *words):
    """The number with which they answer."""
    print(*words, file=writers.stdin, flush=True)
    return int(writers.stdout.readline())


def started(writers, path, count, name):
    """The process that writes so many entries, and the file that says which it has written."""
    return told(writers, path, count, name), path.with_name(f"{path.name}-{name}")


def test_two_processes_share_one_chain_from_its_first_entry_on(writers, path):
    for name in ("a", "b"):
        started(writers, path, 20, name)
    assert told(writers, "wait") == 0
    with Ledger(path) as ledger:
        _, *notes = ledger
    for name in ("a", "b"):
        assert [e.body["number"] for e in notes if e.body["writer"] == name] == [*range(20)]


def test_a_killed_writer_leaves_every_entry_it_reported(writers, path):
    with Ledger(path) as ledger:
        ledger.append("note", {})
    reported = 0
    for turn in range(3):
        process, said = started(writers, path, 10_000, str(turn))
        deadline = time.monotonic() + 60
        while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02 * turn)
        os.kill(process, signal.SIGKILL)
        assert told(writers, "wait") == 1
        reported += len(said.read_text().splitlines())
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
