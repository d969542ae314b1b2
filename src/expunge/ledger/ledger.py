"""The file: who may write when, and what is said where that fails."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from expunge.auditing import Evidence
from expunge.errors import BadSetting, CannotRead, CannotWrite, ExpungeError, LedgerTampered
from expunge.judging import Verdict
from expunge.ledger import chain
from expunge.ledger.bodies import OWN, Opening, as_text, check_settled, settled
from expunge.ledger.chain import Entry
from expunge.ledger.key import Key, beside
from expunge.request import Request

_PATIENCE = 30.0  # seconds to wait for another process that is writing
_KIND = re.compile(r"[a-z][a-z -]{0,31}")


class Ledger:
    """A SQLite file in which every entry seals all entries before it.

    Args:
        path: The file. The first entry makes it; reading never does.
        key: What subjects are hashed with: bytes, or the path of a key file; None means
            ``<path>.key``. A key file is made together with a ledger, and never for an old one.
        project: A name of your choice; a ledger that was opened under another is refused.
    """

    def __init__(
        self, path: str | Path, key: bytes | str | Path | None = None, *, project: str = ""
    ) -> None:
        self.path = Path(path)
        source = beside(self.path) if key is None else key
        self._key = Key(source if isinstance(source, bytes) else Path(source))
        self._project = project
        self._db: sqlite3.Connection | None = None  # None: nothing was read or written yet

    def __enter__(self) -> "Ledger":  # noqa: PYI034 - run-time checks refuse Self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries())

    def settle(self, request: Request, evidence: Evidence, verdict: Verdict) -> str:
        """Enter how a request ended; return the seal, which belongs in its report."""
        check_settled(request, evidence, verdict)
        self.begin()
        subject = self._key.hashed(request.subject)
        return self._add("settled", as_text(settled(request, evidence, verdict, subject))).digest

    def append(self, kind: str, body: Mapping[str, Any]) -> Entry:
        """Enter something else: a kind of your own, and a JSON body."""
        if kind in OWN or not _KIND.fullmatch(kind):
            raise BadSetting(
                f"an entry cannot be of the kind {kind!r}",
                hint=f"use a few small letters, and none of {', '.join(OWN)}.",
            )
        text = as_text(body)
        self.begin()
        return self._add(kind, text)

    def verify(self, seal: str = "") -> str:
        """Check every entry; return the seal of the last one.

        Args:
            seal: A seal from a report, or its first 8 digits at least; the ledger must hold it.
        """
        found = self._entries()
        if seal:
            chain.find(self.path, found, seal)
        return found[-1].digest

    def begin(self, subject: str = "") -> None:
        """Make the ledger and its key where there is none, say before long work.

        With a ``subject`` the key must be there, for it is needed in the end.
        """
        with _spoken(self.path, CannotWrite):
            if not self._is_begun():
                self._open_new()
            chain.check_format(self._connected(), self.path)
        self._key.hashed(subject)

    def is_begun(self) -> bool:
        """Whether there is anything to read; LedgerTampered where there was, and it is gone."""
        with _spoken(self.path, CannotRead):
            return self._is_begun()

    def close(self) -> None:
        """Let go of the file; whatever comes next takes it up again."""
        if self._db is not None:
            self._db.close()
        self._db = None

    def _is_begun(self) -> bool:
        """A key that served says that a ledger was here: that it is gone must not go unnoticed."""
        served = self._key.served(self.path)  # asked first: another process may lay it now
        if self.path.exists() and not chain.is_empty(self._connected()):
            return True
        if served:
            raise LedgerTampered(
                f"{self.path} is missing or empty, but its key is still there: {self._key}",
                hint="bring the ledger back from a backup; to begin anew, move the key away first.",
            )
        return False

    def _open_new(self) -> None:
        _check_place(self.path)
        self._key.made()
        self._db = self._db or _connect(self.path, "rwc")
        with self._locked() as db:
            if chain.is_empty(db):  # another process may have been first
                chain.lay(db)
                mark = self._key.fingerprint() or ""
                chain.add(db, "opened", _opening(self._project, mark), ())
        self._key.serve(self.path)

    def _add(self, kind: str, text: str) -> Entry:
        # The whole chain is checked first: nothing is sealed on top of a forgery.
        with _spoken(self.path, CannotWrite), self._locked() as db:
            return chain.add(db, kind, text, self._checked(db))

    def _entries(self) -> list[Entry]:
        with _spoken(self.path, CannotRead):
            self._is_begun()
            return self._checked(self._connected())

    def _checked(self, db: sqlite3.Connection) -> list[Entry]:
        found = chain.entries(db, self.path)
        opening = found[0].body
        if self._project and opening["project"] != self._project:
            raise LedgerTampered(
                f"{self.path} belongs to another project: it was opened for "
                f"{opening['project']!r}, not for {self._project!r}",
                hint="name this project's own ledger, or a new path.",
            )
        if self._key.fingerprint() not in (None, opening["key"]):
            raise LedgerTampered(
                f"{self.path} belongs to another project, or its key was exchanged: "
                f"{self._key} is not the one it was opened with",
                hint="bring back its own key; without any key a ledger still verifies.",
            )
        return found

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        db = self._connected()
        with db:  # commits, or rolls back
            db.execute("BEGIN IMMEDIATE")
            yield db

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            if not self.path.is_file():
                what = "is not a file" if self.path.exists() else "does not exist"
                raise CannotRead(f"the ledger {self.path} {what}", hint="check the path.")
            self._db = _connect(self.path, "rw")
        return self._db


def _opening(project: str, mark: str) -> str:
    return as_text(Opening(project, mark, datetime.now(UTC)))


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise CannotWrite(
            f"the ledger {path} cannot be made: there is no folder {path.parent}",
            hint="make the folder first; a ledger belongs where it stays.",
        )


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Reading asks for "rw" too: what a killed writer left half-done is then rolled back.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)
    db.text_factory = _text
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA synchronous = EXTRA")  # an entry that was sealed survives a power cut
    return db


def _text(raw: bytes) -> str:
    """A text, or what no seal holds for: bytes that are none can be read, and not written again."""
    return raw.decode(errors="surrogateescape")


@contextmanager
def _spoken(path: Path, fault: type[CannotRead | CannotWrite]) -> Iterator[None]:
    """Say in words what SQLite says in codes."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as why:
        raise _in_words(path, fault, why) from why
    except OSError as why:
        raise fault(
            f"the ledger {path} could not be used: {why.strerror or why}", hint="check the path."
        ) from why


def _in_words(
    path: Path,
    fault: type[CannotRead | CannotWrite],
    why: sqlite3.DatabaseError | UnicodeDecodeError,
) -> ExpungeError:
    code = getattr(why, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return CannotRead(f"{path} is no ledger: {why}", hint="check the path.")
    # What SQLite quotes from a damaged file may be no text.
    if code == sqlite3.SQLITE_CORRUPT or isinstance(why, UnicodeDecodeError):
        return LedgerTampered(
            f"{path} is damaged, or was cut short: {why}",
            hint="keep it as it is, and bring back a backup.",
        )
    return fault(
        f"the ledger {path} could not be used: {why}; every earlier entry is kept",
        hint="free some space, allow writing, or wait for whoever holds it; then try again.",
    )
