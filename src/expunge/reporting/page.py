"""A report as one value."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from expunge.storing import write_text


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
