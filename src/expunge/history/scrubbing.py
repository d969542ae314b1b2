"""Take samples out of a history: their ids, and all that was computed by weights that knew them.

Files are written anew and the old ones unlinked. Ids go last, because they tell what else must go:
a purge that was interrupted can be done again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.errors import HistoryDoesNotFit, RequestDoesNotFit
from expunge.history.heading import NAME, Header
from expunge.history.records import framed, unpacked
from expunge.history.segments import Chapter, Segment, chapters, erase, ours
from expunge.storing import forget_file, load_tensors, save_tensors, writing

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge took out of a history."""

    steps: int  # that had read the samples
    gradients: int  # steps whose gradients were deleted
    starts: int  # that were deleted or replaced
    whole: bool = False  # nothing is left

    def __str__(self) -> str:
        what = f"{self.steps} steps had read the samples"
        if self.whole:
            return f"{what}; the history was deleted: where it began, they may have been known"
        return f"{what}; {self.gradients} gradients and {self.starts} starts that knew them went"


def scrub(
    folder: Path, samples: Iterable[int], start: Mapping[str, Tensor] | None = None
) -> Purged:
    """Take samples out; ``start`` replaces the model before the first step, if that knew them."""
    header, kept = Header.read(folder), chapters(folder)
    gone = _checked(samples, header.size)
    packed = [payload for chapter in kept for payload in chapter.records]
    first = kept[0].segment
    seen = [at for at, one in enumerate(packed, first.number) if unpacked(one).touches(gone)]
    if start is None and not (header.fresh and first.number == 0):
        lost = _gradients(header, kept, first.number)
        erase(folder)
        return Purged(len(seen), lost, len(kept), whole=True)
    limit = first.number if start is not None else min(seen, default=kept[-1].end)
    clean = [chapter.segment for chapter in kept if chapter.segment.number <= limit]
    replaced = 0 if start is None else _replace(first, start)
    told = Purged(len(seen), _gradients(header, kept, limit), len(kept) - len(clean) + replaced)
    ended = None if seen or replaced else header.ended
    replace(header, ended=ended, token="").save(folder)
    _remove_others(folder, clean)
    _cut_gradients(header, clean, first.number + len(packed), limit)
    _rewrite_steps(clean, packed, gone)
    return told


def _checked(samples: Iterable[int], size: int) -> Int[Tensor, " n"]:
    gone = [index(sample) for sample in samples]
    outside = [sample for sample in gone if not 0 <= sample < size]
    if outside:
        raise RequestDoesNotFit(
            f"sample {outside[0]} is not among the {size} that the history was recorded on",
            hint="name samples by their positions in the dataset that was watched.",
        )
    return torch.tensor(gone, dtype=torch.long)


def _gradients(header: Header, kept: list[Chapter], limit: int) -> int:
    """How many steps from ``limit`` on have a gradient in their files."""
    return sum(
        chapter.segment.holds(header, place)
        for chapter in kept
        for place in range(len(chapter.records))
        if chapter.segment.number + place >= limit
    )


def _replace(segment: Segment, model: Mapping[str, Tensor]) -> int:
    """Put another model where a segment begins; what the optimizer remembered there is lost."""
    before, meta = load_tensors(segment.start)
    after = {f"model.{name}": value for name, value in model.items()}
    shapes = {name: value.shape for name, value in before.items() if name.startswith("model.")}
    if shapes != {name: value.shape for name, value in after.items()}:
        raise HistoryDoesNotFit(
            f"the given start is not a state of the model that history {segment.folder} recorded",
            hint="give model.state_dict() of the same network, with its names and shapes.",
        )
    save_tensors(segment.start, after, meta)
    return 1


def _remove_others(folder: Path, clean: list[Segment]) -> None:
    """Unlink all but the header and clean segments: also what a killed process left behind."""
    kept = {folder / NAME, *(path for segment in clean for path in segment.files)}
    for path in ours(folder):
        if path not in kept:
            forget_file(path)


def _cut_gradients(header: Header, clean: list[Segment], end: int, limit: int) -> None:
    for segment, after in zip(clean, _ends(clean, end), strict=True):
        _cut(segment.gradients, header.slot * max(0, min(after, limit) - segment.number))


def _rewrite_steps(clean: list[Segment], packed: list[bytes], gone: Int[Tensor, " n"]) -> None:
    first = clean[0].number
    for segment, after in zip(clean, _ends(clean, first + len(packed)), strict=True):
        steps = packed[segment.number - first : after - first]
        with writing(segment.steps) as file:
            file.writelines(framed(unpacked(step).without(gone)) for step in steps)


def _ends(clean: list[Segment], end: int) -> list[int]:
    """The number after the last step of every segment."""
    return [segment.number for segment in clean[1:]] + [end]


def _cut(path: Path, size: int) -> None:
    """Keep so many bytes from the beginning of a file."""
    if not size or not path.is_file():
        forget_file(path)
        return
    with path.open("rb") as old, writing(path) as new:
        while size > 0 and (piece := old.read(min(size, _CHUNK))):
            new.write(piece)
            size -= len(piece)
