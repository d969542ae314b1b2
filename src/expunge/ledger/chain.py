"""The table of entries: how one seals the last, and every way in which that can be broken."""

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.errors import BadSetting, CannotRead, LedgerTampered
from expunge.ledger.bodies import read
from expunge.storing import digest_text

FORMAT = 1
"""Version of the file; part of every seal."""

_OURS = int.from_bytes(b"expg")  # what SQLite calls the application id
_SCHEMA = (
    """CREATE TABLE entry (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT""",
    """CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are final'); END""",
    """CREATE TRIGGER entry_is_kept BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'ledger entries are kept'); END""",
    # INSERT OR REPLACE deletes without asking the trigger above.
    """CREATE TRIGGER entry_is_next BEFORE INSERT ON entry
WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM entry)
BEGIN SELECT RAISE(ABORT, 'ledger entries follow one another'); END""",
)
_SEAL = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    position: int
    kind: str
    body: dict[str, Any]
    digest: str


def is_empty(db: sqlite3.Connection) -> bool:
    """Whether nothing was ever written: a new file, or one whose making was interrupted."""
    return _number(db, "application_id") == 0 and not _schema(db)


def lay(db: sqlite3.Connection) -> None:
    """Make the table, and the triggers that refuse every change but the next entry."""
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {_OURS}")
    db.execute(f"PRAGMA user_version = {FORMAT}")


def add(db: sqlite3.Connection, kind: str, text: str, before: Sequence[Entry]) -> Entry:
    """Write the next entry."""
    position, previous = len(before) + 1, before[-1].digest if before else ""
    digest = _seal(position, previous, kind, text)
    db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (position, kind, text, digest))
    return Entry(position, kind, read(kind, text), digest)


def entries(db: sqlite3.Connection, path: Path) -> list[Entry]:
    """All entries, once the file, its rules and every seal were checked."""
    check_format(db, path)
    found: list[Entry] = []
    rows = db.execute("SELECT position, kind, body, digest FROM entry ORDER BY position")
    for expected, (position, kind, text, digest) in enumerate(rows.fetchall(), start=1):
        if position != expected:
            raise _tampered(path, f"entry {expected} is missing")
        if not _holds(digest, position, found[-1].digest if found else "", kind, text):
            raise _tampered(path, f"entry {position} was changed after it was written")
        found.append(Entry(position, kind, _body(path, position, kind, text), digest))
    if not found or found[0].kind != "opened":
        raise _tampered(path, "its first entry is missing")
    return found


def find(path: Path, found: Sequence[Entry], seal: str) -> Entry:
    """The entry that carries a seal, or the start of one."""
    wanted = seal.strip().lower()
    if not _SEAL.fullmatch(wanted):
        raise BadSetting(
            f"{seal!r} is no seal: a seal has 64 hexadecimal digits",
            hint="copy it from the report, the first 8 digits at least.",
        )
    carriers = [entry for entry in found if entry.digest.startswith(wanted)]
    if len(carriers) == 1:
        return carriers[0]
    if carriers:
        raise LedgerTampered(
            f"{len(carriers)} of the {len(found)} entries of {path} begin with {wanted}",
            hint="give more digits of the seal.",
        )
    raise LedgerTampered(
        f"none of the {len(found)} entries of {path} carries the seal {wanted}: "
        f"it was cut short or written anew, or the report is of another ledger",
        hint="compare with a backup; a ledger only ever grows.",
    )


def _holds(digest: str, position: int, previous: str, kind: str, text: str) -> bool:
    try:
        return digest == _seal(position, previous, kind, text)
    except UnicodeEncodeError:  # bytes that are no text: no ledger ever sealed them
        return False


def _seal(position: int, previous: str, kind: str, text: str) -> str:
    return digest_text(str(FORMAT), str(position), previous, kind, text)


def _body(path: Path, position: int, kind: str, text: str) -> dict[str, Any]:
    try:
        return read(kind, text)
    except (ValueError, RecursionError) as why:
        raise _tampered(path, f"entry {position} is not what an entry {kind!r} says") from why


def check_format(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is no ledger, a newer one, and one whose rules were changed."""
    if is_empty(db):
        raise CannotRead(f"{path} is empty", hint="`Ledger.settle` enters the first request.")
    if _number(db, "application_id") != _OURS:
        raise CannotRead(
            f"{path} is a SQLite database, but no ledger of expunge", hint="check the path."
        )
    version = _number(db, "user_version")
    if version != FORMAT:
        raise CannotRead(
            f"{path} is a ledger of version {version}, this expunge reads version {FORMAT}",
            hint="use the version of expunge that wrote it.",
        )
    if _schema(db) != set(_SCHEMA):
        raise _tampered(path, "the rules that keep its entries were changed")


def _schema(db: sqlite3.Connection) -> set[str]:
    # SQLite keeps its own notes in tables called sqlite_...; everything else must be ours.
    rows = db.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return {str(sql) for (sql,) in rows.fetchall()}


def _number(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _tampered(path: Path, fact: str) -> LedgerTampered:
    return LedgerTampered(
        f"{path} was tampered with: {fact}",
        hint="keep it as it is, and compare with a backup and with the seals in the reports.",
    )
