"""A folder that work changes, put back to what it was, so that the work can be done again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folder:
    """What a folder held when it was looked at."""

    place: Path
    files: Mapping[Path, bytes]

    @classmethod
    def of(cls, place: Path) -> "Folder":
        """Look at it now; one that is not there is empty."""
        return cls(place, {p: p.read_bytes() for p in place.rglob("*") if p.is_file()})

    def restore(self) -> None:
        """Take away what is new, and write back what was there."""
        for path in self.place.rglob("*"):
            if path.is_file() and path not in self.files:
                path.unlink()
        for path, body in self.files.items():
            path.write_bytes(body)
