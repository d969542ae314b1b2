"""A history on disk: segments, each of which has a start, the steps after it and their gradients.

A segment is where its start is: without one, no step after it could be computed again.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from expunge.errors import CannotRead
from expunge.history.heading import NAME, Header
from expunge.history.records import payloads
from expunge.storing import forget_file

_START = ".start.safetensors"
_OURS = re.compile(  # also what a process that was killed left half-written
    r"\.?(\d{9,}(\.start\.safetensors|\.steps|\.gradients)|history\.json)(\..*\.partial)?"
)


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """Some steps in a row, known by the number of the first."""

    folder: Path
    number: int

    @property
    def start(self) -> Path:
        """The model and the optimizer before the first step."""
        return self.folder / f"{self.number:09}{_START}"

    @property
    def steps(self) -> Path:
        """One record a step."""
        return self.folder / f"{self.number:09}.steps"

    @property
    def gradients(self) -> Path:
        """One slot of equal size a step."""
        return self.folder / f"{self.number:09}.gradients"

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """All of them, the start first: without it, the others say nothing."""
        return self.start, self.gradients, self.steps

    def remove(self) -> None:
        """Unlink every file."""
        for path in self.files:
            forget_file(path)

    def holds(self, header: Header, place: int) -> bool:
        """Whether the file of gradients goes as far as this slot."""
        if not header.slot or not self.gradients.is_file():
            return False
        return self.gradients.stat().st_size >= (place + 1) * header.slot

    def gradient(self, header: Header, place: int) -> Float[Tensor, " p"] | None:
        """The gradient in a slot; None where the file does not hold it."""
        if not self.holds(header, place):
            return None
        begin, size = place * header.slot, header.slot
        mapped = np.memmap(self.gradients, np.uint8, "r", offset=begin, shape=(size,))
        return torch.from_numpy(np.array(mapped)).view(header.dtype).float()


@dataclass(frozen=True, slots=True, eq=False)
class Chapter:
    """A segment with those of its records that can be read."""

    segment: Segment
    records: list[bytes]

    @property
    def end(self) -> int:
        """The number of the step after the last one."""
        return self.segment.number + len(self.records)


def segments(folder: Path) -> list[Segment]:
    """All segments that have a start, oldest first."""
    starts = (path.name.removesuffix(_START) for path in folder.glob(f"*{_START}"))
    return sorted(Segment(folder, int(number)) for number in starts if number.isdecimal())


def chapters(folder: Path) -> list[Chapter]:
    """The newest steps that follow one another without a gap, oldest first, or CannotRead."""
    found: list[Chapter] = []
    for segment in reversed(segments(folder)):
        records = payloads(segment.steps)
        if found:  # a run that was interrupted may have left steps that another start replaced
            records = records[: found[0].segment.number - segment.number]
            if segment.number + len(records) < found[0].segment.number:
                break
        found.insert(0, Chapter(segment, records))
    if not found:
        raise CannotRead(
            f"history {folder} ends before its first step",
            hint="record again, and read batches from tape.watch(loader).",
        )
    return found


def ours(folder: Path) -> Iterator[Path]:
    """Every file of a history in a folder, the header last, and no file of anybody else."""
    found = [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]
    return iter(sorted(found, key=lambda path: (path.name == NAME, path.name)))


def erase(folder: Path) -> None:
    """Unlink every file of a history."""
    for path in ours(folder):
        forget_file(path)
