"""Record which samples every step of a training run saw, with two lines in any loop of torch.

The tape hooks into the optimizer and the gradients, and watches the loader: accumulated gradients,
schedules, and steps that a GradScaler leaves out are followed as they happen. It draws no random
number. What is recorded is which samples were seen and what the optimizer was given: gradients
that were clipped or changed by hand are recorded as such, and a loader's own random augmentation
cannot be repeated from a history.
"""

import secrets
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from expunge.errors import BadSetting, CannotRead, CannotWrite, HistoryDoesNotFit, MissingInput
from expunge.history import History
from expunge.history.heading import CHANGED, Gradients, Header
from expunge.history.records import Record
from expunge.history.winding import Reel, check_free, wound
from expunge.recording.accumulating import Passes
from expunge.recording.following import (
    check_followable,
    check_same,
    gradient_of,
    kind_of,
    layout_of,
    moved_by,
    new,
    settings_of,
    skips,
)
from expunge.recording.watching import Watched
from expunge.storing import digest_tensors


@dataclass(frozen=True, slots=True)
class Recording:
    """Where a history goes, and how much of it is kept."""

    to: str | Path  # a folder of its own; an earlier history in it is replaced
    keep: int = 200  # the last so many steps at least
    gradients: Gradients = "none"
    every: int | None = None  # steps from one kept model to the next; None: as many as ``keep``

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise BadSetting(f"keep={self.keep} would record no step", hint="keep 1 or more.")
        if self.every is not None and not 1 <= self.every <= self.keep:
            raise BadSetting(
                f"every={self.every} is no part of keep={self.keep}",
                hint="keep a model every so many steps: from 1 to keep of them.",
            )
        if self.gradients not in get_args(Gradients):
            raise BadSetting(
                f"gradients={self.gradients!r} is no way to keep them",
                hint=f"one of {', '.join(get_args(Gradients))}.",
            )

    @property
    def lengths(self) -> tuple[int, int]:
        """Steps that are kept at least, and steps of one segment."""
        return self.keep, self.every or self.keep


@dataclass(frozen=True, slots=True)
class Summary:
    """What a tape keeps."""

    steps: int
    bytes: int
    share: float  # of all samples, those that the kept steps saw
    stopped: str | None = None  # why recording ended before the run; None: it did not

    def __str__(self) -> str:
        text = f"{self.steps} steps in {self.bytes / 1e6:.1f} MB, {self.share:.0%} of samples seen"
        return text if self.stopped is None else f"{text}; recording stopped: {self.stopped}"


def record(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    to: str | Path,
    keep: int = 200,
    gradients: Gradients = "none",
    every: int | None = None,
) -> "Tape":
    """Prepare a tape that follows a training run: enter it, and read ``tape.watch(loader)``.

    Args:
        model: What is trained; all that the optimizer moves must be in it.
        optimizer: SGD or AdamW, with any schedule and any number of groups.
        to: A folder of its own. An earlier history in it is replaced.
        keep: How many of the last steps can be read at least.
        gradients: ``bf16`` or ``fp32`` to keep every step's gradient, as many numbers a step as
            the model has. Replaying needs none.
        every: The model and the optimizer are kept once in so many steps; a replay can begin
            there. On disk are at most this many steps more than ``keep``, which it is by default.
    """
    return Tape(model, optimizer, Recording(to, keep, gradients, every))


class Tape:
    """Follows an optimizer while it is entered; use it in a ``with`` statement."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        recording: Recording,
        *,
        first: int = 0,
        run: str = "",
        beside: tuple[str, ...] = (),
    ) -> None:
        """Prepare to record; nothing is written before the first batch is read.

        ``first`` is the number of the first step, and ``run`` what makes the run: where both are
        given and the folder holds the steps before, recording goes on there. ``beside`` names what
        the run does that no history holds.
        """
        self._model = getattr(model, "_orig_mod", model)  # names are those before torch.compile
        self._optimizer, self._recording = optimizer, recording
        self._first, self._run, self._odd = first, run, beside
        self._folder = Path(recording.to)
        self._hooks = ExitStack()
        self._running, self._used = False, False
        self._touched = 0  # how often parameters were written to, as torch counts
        self._watched: dict[int, Watched] = {}  # by the id of what they read, which they hold
        self._reel: Reel | None = None
        self._rng: Tensor | None = None
        self._pending: Record | None = None  # a step that is being made
        self._stopped: str | None = None

    def __enter__(self) -> "Tape":  # noqa: PYI034 - run-time checks refuse Self
        if self._used:
            raise MissingInput(
                "a tape follows one run, and this one has", hint="call expunge.record again."
            )
        self._used = True
        check_followable(self._model)
        check_free(self._folder)
        self._header = self._headed()
        self._parameters = moved_by(self._optimizer)
        self._passes = Passes(self._parameters)
        self._hook()
        self._running = True
        return self

    def __exit__(self, *_why: object) -> None:
        self._hooks.close()
        self._running = False
        if self._reel is not None:
            with self._going_on():
                self._reel.end(None if self._stopped else self._ended())

    def watch(self, batches: Any) -> Watched:
        """The batches of a DataLoader, or of `Batches`; the loader itself is left as it is.

        Samples are known by their positions in the dataset that the loader was given: for a
        ``Subset``, in the subset.
        """
        if not self._running:
            raise MissingInput(
                "the tape is not recording", hint="use `with expunge.record(...) as tape:`."
            )
        watched = self._watched.get(id(batches)) or Watched(batches, self._hear)
        if any(other.data is not watched.data for other in self._watched.values()):
            raise HistoryDoesNotFit(
                "two datasets are watched, and a position would be a sample in either",
                hint="watch one loader over a ConcatDataset; evaluation need not be watched.",
            )
        return self._watched.setdefault(id(batches), watched)

    @property
    def summary(self) -> Summary:
        """What is on disk now; the history is read for it."""
        try:
            found = History.open(self._folder)
        except CannotRead:
            return Summary(0, 0, 0.0, self._stopped)
        seen = torch.zeros(found.size, dtype=torch.bool)
        for step in found.steps:
            seen[torch.cat(step.ids)] = True
        share = seen.double().mean().item()
        return Summary(len(found.steps), found.bytes, share, self._stopped)

    def _headed(self) -> Header:
        kind, layout = kind_of(self._optimizer), layout_of(self._model, self._optimizer)
        fresh, kept = new(self._optimizer), self._recording.gradients
        token = secrets.token_hex(8)
        return Header(kind, layout, 0, kept, fresh, run=self._run, beside=self._odd, token=token)

    def _ended(self) -> str:
        """What tells the trained model from others: nothing does, if it was changed since."""
        if self._writes() == self._touched:
            return digest_tensors(self._model.state_dict())
        warnings.warn(
            "weights were changed after the last step: load others once the tape is closed",
            RuntimeWarning,
            stacklevel=3,
        )
        return CHANGED

    def _writes(self) -> int:
        return sum(parameter._version for parameter in self._parameters)  # noqa: SLF001

    def _hook(self) -> None:
        hooks = [
            self._optimizer.register_step_pre_hook(self._before),
            self._optimizer.register_step_post_hook(self._after),
            register_optimizer_step_pre_hook(self._beside),
            *(p.register_hook(self._passes.backward) for p in self._parameters if p.requires_grad),
        ]
        for hook in hooks:
            self._hooks.callback(hook.remove)

    def _hear(self, ids: Int[Tensor, " _"], rng: Tensor | None) -> None:
        if self._running and not self._stopped:
            if self._reel is None:
                self._reel = self._begun()
            self._passes.hear(ids)
            self._rng = rng

    def _begun(self) -> Reel:
        (data, *_) = (watched.data for watched in self._watched.values())
        header = replace(self._header, size=len(data))
        self._touched = self._writes()
        reel = wound(self._folder, header, self._recording.lengths, self._first)
        reel.begin(self._first, self._model, self._optimizer)
        return reel

    def _before(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Look at the gradients as the optimizer finds them: before it, or after its closure."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._look()
            return None

        def looking() -> Any:
            loss = closure()
            self._look()
            return loss

        return (optimizer, looking), {}

    def _look(self) -> None:
        self._pending = None
        if self._stopped or skips(self._optimizer):
            return
        passes, aside = self._passes.take()
        still = tuple(i for i, p in enumerate(self._parameters) if p.grad is None)
        settings = settings_of(self._optimizer)
        check_same(self._header.layout, self._optimizer)
        self._pending = Record(passes, aside, settings, self._rng, still)
        if self._reel is not None and self._header.slot:
            with self._going_on():
                self._reel.lay(gradient_of(self._optimizer, self._parameters))

    def _after(self, *_step: Any) -> None:
        made, self._pending = self._pending, None
        self._touched = self._writes()
        if made is None or self._stopped or self._reel is None:
            return
        with self._going_on():
            self._reel.append(made)
            if self._reel.full:
                self._reel.begin(self._reel.number, self._model, self._optimizer)

    def _beside(self, other: Optimizer, _args: Any, _kwargs: Any) -> None:
        """Refuse that another optimizer moves what this one moves."""
        own = {id(p) for p in self._parameters}
        if other is not self._optimizer and any(id(p) in own for p in moved_by(other)):
            raise HistoryDoesNotFit(
                f"a second optimizer, {type(other).__name__}, moves parameters that are recorded",
                hint="let one optimizer move a parameter; give it several groups.",
            )

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Training outlives a disk that is full: recording stops, and says so once."""
        try:
            yield
        except (OSError, CannotWrite) as why:
            self._stopped = getattr(why, "fact", None) or str(why)
            warnings.warn(
                f"recording stopped, training goes on: {self._stopped}; "
                f"what was recorded before can be read",
                RuntimeWarning,
                stacklevel=2,
            )
