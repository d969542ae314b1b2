"""A report as one value."""

import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from expunge.storing import write_text

_SEAL = re.compile(rb"<dt>Ledger seal</dt><dd><code>([0-9a-f]{64})</code>")


@dataclass(frozen=True, slots=True)
class Page:
    """One self-contained HTML document."""

    html: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file that `save` writes."""
        return sha256(self.html.encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the page as a whole or not at all."""
        write_text(path, self.html)


def seal_in(path: str | Path) -> str:
    """The first seal that a saved page shows; nothing where there is no page, or none in it."""
    with suppress(OSError):
        found = _SEAL.search(Path(path).read_bytes())
        return found[1].decode() if found else ""
    return ""
