"""A ring of segments on disk, wound on by one step at a time.

Once a segment is full, the next begins, and the oldest goes if enough steps are in the others: as
many as were asked for can be read, and at most one segment more. A process that is killed leaves
every step that was appended.
"""

from contextlib import ExitStack
from dataclasses import replace
from io import FileIO
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from expunge.errors import CannotRead, CannotWrite
from expunge.history.heading import Header
from expunge.history.history import save_start
from expunge.history.records import Record, framed
from expunge.history.segments import Segment, chapters, erase, segments


class Reel:
    """Writes a history, and forgets its oldest steps."""

    def __init__(self, folder: Path, header: Header, lengths: tuple[int, int]) -> None:
        self._folder, self._header = folder, header
        self._keep, self._every = lengths  # steps that are kept at least, steps of a segment
        self._starts = [segment.number for segment in segments(folder)]
        self._count = 0  # steps in the segment that is being written
        self._files = ExitStack()
        self._steps: FileIO | None = None
        self._gradients: FileIO | None = None

    @property
    def full(self) -> bool:
        """Whether the segment has all its steps."""
        return self._count >= self._every

    @property
    def number(self) -> int:
        """The number of the next step."""
        return self._starts[-1] + self._count

    def begin(self, number: int, model: nn.Module, optimizer: Optimizer) -> None:
        """Begin a segment with the model before a step."""
        self._files.close()
        self._check_own()
        segment = Segment(self._folder, number)
        segment.remove()
        save_start(segment, model, optimizer)
        self._starts.append(number)
        self._count = 0
        self._steps = self._files.enter_context(FileIO(segment.steps, "w"))
        if self._header.slot:
            self._gradients = self._files.enter_context(FileIO(segment.gradients, "w"))

    def lay(self, gradient: Float[Tensor, " p"]) -> None:
        """Write the next step's gradient; it counts once the step is appended."""
        if self._gradients is not None:
            self._gradients.seek(self._count * self._header.slot)
            data = gradient.to(self._header.dtype).cpu().view(torch.uint8).numpy()
            _pour(self._gradients, data.data)

    def append(self, record: Record) -> None:
        """Write a step that was made; let the oldest go if enough are left."""
        if self._steps is None:
            return
        _pour(self._steps, memoryview(framed(record)))
        self._count += 1
        while len(self._starts) > 1 and self.number - self._starts[1] >= self._keep:
            self._check_own()
            Segment(self._folder, self._starts.pop(0)).remove()

    def end(self, digest: str | None) -> None:
        """Close the files; say what the model became, if the last step is among them."""
        self._files.close()
        if digest is not None:
            self._check_own()
            replace(self._header, ended=digest, token="").save(self._folder)

    def _check_own(self) -> None:
        """Leave the folder to another tape that has begun to write there."""
        if Header.read(self._folder).token != self._header.token:
            raise CannotWrite(
                f"another run records into {self._folder} now", hint="name a folder for each run."
            )


def wound(folder: Path, header: Header, lengths: tuple[int, int], first: int) -> Reel:
    """A reel that goes on with the same run where it can, and else replaces what is there."""
    header = _continued(folder, header, first) or _anew(folder, header)
    header.save(folder)
    return Reel(folder, header, lengths)


def check_free(folder: Path) -> None:
    """Refuse a folder that holds anything but a history of ours."""
    if not folder.exists():
        return
    if folder.is_dir() and all(path.name.endswith(".partial") for path in folder.iterdir()):
        return  # nothing, or what a process that was killed left half-written
    try:
        Header.read(folder)
    except (CannotRead, OSError) as why:
        raise CannotWrite(
            f"{folder} is there and holds no history; it is left alone",
            hint="name a folder of the history's own.",
        ) from why


def _continued(folder: Path, header: Header, first: int) -> Header | None:
    """The header of a run that was interrupted; None where these are not the steps before."""
    try:
        old, kept = Header.read(folder), chapters(folder)
    except CannotRead:
        return None
    same = replace(old, ended=None, fresh=header.fresh, token=header.token) == header
    if not header.run or not same or not kept[0].segment.number < first <= kept[-1].end:
        return None
    for segment in segments(folder):
        if segment.number >= first or segment < kept[0].segment:
            segment.remove()
    return replace(old, ended=None, token=header.token)


def _anew(folder: Path, header: Header) -> Header:
    if folder.exists():
        erase(folder)
    return header


def _pour(file: FileIO, data: memoryview) -> None:
    """Write all: a raw file may take less at a time."""
    while data:
        data = data[file.write(data) :]
