"""What a training run left behind: which samples each of its last steps saw, and where they began.

A history is read as it is on disk, also while a run writes it or after one was killed: it holds
every step whose record is whole. Steps are unpacked, and gradients mapped, when they are asked for.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import Optimizer

from expunge.errors import CannotRead, HistoryDoesNotFit
from expunge.history.carrying import groups_as_text, groups_of, state_of, tensors_of
from expunge.history.heading import Header, Kind
from expunge.history.records import Record, unpacked
from expunge.history.scrubbing import Purged, scrub
from expunge.history.segments import Chapter, Segment, chapters, ours
from expunge.storing import load_tensors, save_tensors


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One step of an optimizer: the samples that moved it, and how it was set.

    Settings are numbers, also ``nesterov``.
    """

    number: int  # from 0 of the run
    ids: tuple[Int[Tensor, " _"], ...]  # positions in the dataset, one tensor a backward pass
    settings: tuple[Mapping[str, float], ...]  # of every group of parameters
    rng: Tensor | None = None  # torch's generator before augmentation; None: nobody kept it
    still: tuple[str, ...] = ()  # parameters that had no gradient, and were left alone
    stored: Callable[[], dict[str, Tensor] | None] | None = field(default=None, repr=False)

    def gradient(self) -> dict[str, Tensor] | None:
        """What the optimizer was given, in fp32, without weight decay; None where not kept.

        Parameters that had no gradient are not in it.
        """
        return None if self.stored is None else self.stored()


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """Where a window of steps begins.

    Fused optimizers want buffers in the memory order of their parameters: load ``optimizer``
    with `expunge.history.carrying.restore`.
    """

    number: int  # of the first step after it
    model: dict[str, Tensor]  # the whole state dict, buffers too
    optimizer: dict[str, Any]  # a state dict

    @classmethod
    def load(cls, segment: Segment) -> "Start":
        """Read a start, or CannotRead."""
        tensors, meta = load_tensors(segment.start)
        if "groups" not in meta:
            raise CannotRead(f"{segment.start} is not the start of a history", hint="record again.")
        mark = "model."
        model = {k.removeprefix(mark): v for k, v in tensors.items() if k.startswith(mark)}
        try:
            groups = groups_of(meta["groups"])
        except (TypeError, ValueError) as why:
            raise CannotRead(f"{segment.start}: {why}", hint="record again.") from why
        state = {"state": state_of(tensors), "param_groups": groups}
        return cls(segment.number, model, state)


def save_start(segment: Segment, model: nn.Module, optimizer: Optimizer) -> None:
    """Write where a segment begins: the whole model, and what the optimizer remembers."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    meta = {"groups": groups_as_text(optimizer)}
    save_tensors(segment.start, tensors | tensors_of(optimizer), meta)


class History:
    """The last steps of a training run, oldest first and without a gap."""

    def __init__(self, folder: Path, header: Header, kept: Sequence[Chapter]) -> None:
        self.folder = folder
        self._header = header
        self._segments = [chapter.segment for chapter in kept]
        self.steps: Sequence[Step] = _Steps(header, kept)

    @classmethod
    def open(cls, folder: str | Path) -> "History":
        """Read a history, or CannotRead; a last record that was cut short is left out."""
        folder = Path(folder)
        return cls(folder, Header.read(folder), chapters(folder))

    @property
    def optimizer(self) -> Kind:
        """``sgd`` or ``adamw``."""
        return self._header.optimizer

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The names of the parameters in every group of the optimizer."""
        return self._header.layout.groups

    @cached_property
    def still(self) -> frozenset[str]:
        """Parameters that had no gradient in any step: the optimizer held them in vain."""
        return frozenset.intersection(*(frozenset(step.still) for step in self.steps))

    @cached_property
    def steady(self) -> bool:
        """Whether the same parameters learned in every step."""
        return all(len(step.still) == len(self.still) for step in self.steps)

    @property
    def parameters(self) -> int:
        """How many numbers the optimizer moved."""
        return self._header.layout.parameters

    @property
    def size(self) -> int:
        """How many samples the dataset has."""
        return self._header.size

    @property
    def gradients(self) -> Literal["bf16", "fp32"] | None:
        """How gradients were stored; None: not at all."""
        kept = self._header.gradients
        return None if kept == "none" else kept

    @property
    def ended(self) -> str | None:
        """Digest of the model's state dict when the tape was closed.

        None where that is not known: the run was killed, the disk was full, samples were purged.
        "changed" where it was changed after the last step, and nobody has what that step made.
        """
        return self._header.ended

    @property
    def beside(self) -> tuple[str, ...]:
        """What the run did that no history holds, if it told: ``augment``, ``penalty``."""
        return self._header.beside

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters that the optimizer moved, by name."""
        return dict(zip(self._header.layout.names, self._header.layout.shapes, strict=True))

    @property
    def starts(self) -> tuple[int, ...]:
        """Numbers of the steps before which the model was kept."""
        return tuple(segment.number for segment in self._segments)

    def start(self, number: int) -> Start:
        """The model and the optimizer as they were before a step."""
        if number not in self.starts:
            raise HistoryDoesNotFit(
                f"history {self.folder} keeps no model before step {number}",
                hint=f"it keeps one before each of {list(self.starts)}.",
            )
        found = Start.load(Segment(self.folder, number))
        if [len(group["params"]) for group in found.optimizer["param_groups"]] != [
            len(group) for group in self.groups
        ]:
            raise CannotRead(
                f"history {self.folder} has other groups than the optimizer before step {number}",
                hint="record again.",
            )
        return found

    @property
    def whole(self) -> bool:
        """Whether it begins with the run: before its first step, the optimizer had made none."""
        return self.starts[:1] == (0,) and self._header.fresh

    @property
    def bytes(self) -> int:
        """What the history takes on disk."""
        return sum(path.stat().st_size for path in ours(self.folder))

    def purge(self, samples: Iterable[int], *, start: Mapping[str, Tensor] | None = None) -> Purged:
        """Take samples out of the files; what follows from them goes with them.

        Their ids leave every step. Gradients from the first step on that read any of them, and
        later starts, know of them and are deleted. Where the window does not begin with the run,
        its own start may know of them too: give a state dict that does not, which takes its place
        and lets every gradient go; without one, the whole history is deleted. A model that had
        learnt the samples before it was recorded knows them from the first step on: give a start
        there too. Open the history again to read what is left, and never purge what a tape still
        writes.
        """
        return scrub(self.folder, samples, start)


class _Steps(Sequence[Step]):
    """Steps that are unpacked one by one, when somebody looks."""

    def __init__(self, header: Header, kept: Sequence[Chapter]) -> None:
        self._header = header
        self._packed = [
            (chapter.segment, place, payload)
            for chapter in kept
            for place, payload in enumerate(chapter.records)
        ]

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[place] for place in range(len(self))[at]]
        segment, place, payload = self._packed[at]
        record = unpacked(payload)
        stored = partial(_gradient, self._header, segment, place, record)
        still = _still(self._header, record)
        number = segment.number + place
        return Step(number, record.passes, record.settings, record.rng, still, stored)


def _still(header: Header, record: Record) -> tuple[str, ...]:
    return tuple(header.layout.names[place] for place in record.still)


def _gradient(
    header: Header, segment: Segment, place: int, record: Record
) -> dict[str, Tensor] | None:
    flat = segment.gradient(header, place)
    if flat is None:
        return None
    still = _still(header, record)
    return {name: g for name, g in header.layout.named(flat).items() if name not in still}
