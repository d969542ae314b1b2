"""The secret that turns a subject into a hash: made once, never overwritten, free to destroy.

The line in a key file ends when the ledger beside it is laid: one without an end had no ledger yet.
"""

import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from expunge.errors import BadSetting, CannotRead, CannotWrite

_SIZE = 32  # bytes, as many as a SHA-256 has
_LEAST = 16  # bytes: a shorter key could be guessed, and the subjects with it


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """Bytes, or a file that holds them as hexadecimal digits."""

    source: bytes | Path

    def __str__(self) -> str:
        given = isinstance(self.source, bytes)  # a message must never show the key itself
        return "the key that was given" if given else f"the key {self.source!s}"

    def known(self) -> bytes | None:
        """The key; None where there is none, or none that this user may read."""
        if isinstance(self.source, bytes):
            return _long_enough(self.source)
        try:
            return _decoded(self.source)
        except (FileNotFoundError, PermissionError):
            return None

    def made(self) -> bytes:
        """The key; a missing file is made, and one that is there is taken as it is."""
        if isinstance(self.source, Path) and not self.source.exists():
            _make(self.source)
        return self._needed()

    def hashed(self, subject: str) -> str:
        """The subject as a ledger may keep it; nothing for nobody."""
        if not subject:
            return ""
        return hmac.new(self._needed(), subject.encode(errors="surrogatepass"), sha256).hexdigest()

    def fingerprint(self) -> str | None:
        """What tells this key from another and reveals neither; None without a key."""
        key = self.known()
        return None if key is None else sha256(b"expunge ledger key\0" + key).hexdigest()

    def served(self, ledger: Path) -> bool:
        """Whether a ledger was laid beside the key, be it there or not."""
        with suppress(OSError):  # whoever needs the key will say what is wrong with it
            return self.source == beside(ledger) and beside(ledger).read_bytes().endswith(b"\n")
        return False

    def serve(self, ledger: Path) -> None:
        """End the line of a key whose ledger is laid."""
        if self.source == beside(ledger) and not self.served(ledger):
            # Where that fails there is less to be alarmed by, and the ledger is whole.
            with suppress(OSError), beside(ledger).open("ab") as file:
                file.write(b"\n")

    def _needed(self) -> bytes:
        key = self.known()
        if key is None:
            raise CannotRead(
                f"{self} is gone, or not yours to read",
                hint="bring it back; or, if it was destroyed on purpose, settle without a subject "
                "or begin another ledger.",
            )
        return key


def beside(ledger: Path) -> Path:
    """Where the key of a ledger lies, unless somebody says otherwise."""
    return ledger.with_name(f"{ledger.name}.key")


def _decoded(path: Path) -> bytes:
    try:
        return _long_enough(bytes.fromhex(path.read_text(encoding="ascii")))
    except (ValueError, BadSetting, IsADirectoryError) as why:
        raise CannotRead(
            f"{path} is no key file: it does not hold {_LEAST} bytes or more as hexadecimal digits",
            hint="bring back the key that was made with the ledger, or pass Ledger(key=...).",
        ) from why


def _long_enough(key: bytes) -> bytes:
    if len(key) < _LEAST:
        raise BadSetting(
            f"the key has {len(key)} bytes; below {_LEAST} it could be guessed",
            hint="pass secrets.token_bytes(32), or no key, and one is made.",
        )
    return key


def _make(path: Path) -> None:
    """Write beside, then link: the key is there whole or not at all, and the first one stays."""
    try:
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(secrets.token_hex(_SIZE))
            file.flush()
            os.fsync(file.fileno())
            _publish(Path(file.name), path)
    except OSError as why:
        raise CannotWrite(
            f"the key file {path} could not be made: {why.strerror or why}",
            hint="free some space, or pass Ledger(key=...): bytes, or a path that you may write.",
        ) from why


def _publish(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)
    except OSError:  # another process was first, or the file system knows no links
        with suppress(FileExistsError):
            path.touch(mode=0o600, exist_ok=False)
            path.write_bytes(beside.read_bytes())
