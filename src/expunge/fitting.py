"""The default training loop: SGD or AdamW, a schedule, bf16 where it pays, resumable."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import Dataset

from expunge.accounting import as_json
from expunge.batching import Batches
from expunge.errors import CannotRead, Diverged, ModelDoesNotFit
from expunge.history.carrying import restore, state_of, tensors_of
from expunge.observing import device_of
from expunge.precision import bf16_pays, half, laid_out
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.recording import Recording, Tape
from expunge.refusing import refuse_below, refuse_misfits
from expunge.splitting import Part
from expunge.storing import digest_json, digest_tensors, forget_file, load_tensors, save_tensors
from expunge.tasks import Batch, Classification, Task
from expunge.tasks.asking import understood

Penalty = Callable[[nn.Module, Batch], Tensor]


@dataclass(frozen=True)
class Fit:
    """Train a model on a dataset. Call it like the ``fit`` of a recipe.

    It has more fields than most, because a training loop has this many dials. Randomness comes
    from torch's global generator: whoever calls seeds it.
    """

    epochs: int = 30
    lr: float = 0.1
    batch: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["cosine", "onecycle", "constant"] = "cosine"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    augment: Callable[[Batch], Batch] | None = None  # None: the data as they are
    penalty: Penalty | None = None  # None: the task's loss alone
    task: Task = field(default_factory=Classification)
    checkpoint: Path | None = None  # None: an interrupted run starts again
    record: Recording | Path | None = None  # None: no history is left behind
    progress: Progress = quiet

    def __post_init__(self) -> None:
        """Refuse settings that no run could have."""
        refuse_misfits(self)
        refuse_below(self, 0, "epochs", "lr", "momentum", "weight_decay")
        refuse_below(self, 1, "batch")

    def __call__(self, model: nn.Module, dataset: Dataset[Any]) -> nn.Module:
        """Train ``model`` in place and return it in eval mode."""
        part = dataset if isinstance(dataset, Part) else Part.whole(dataset)  # type: ignore[arg-type]
        started = time.perf_counter()
        batches = Batches(part, self.batch, shuffle=True, device=device_of(model))
        halved = self.halves(model)
        optimizer = self.stepping([p for p in model.parameters() if p.requires_grad])
        run = "" if self.checkpoint is None else self._run(model, part)
        first, before = self._resumed(model, optimizer, run)
        started -= before
        tape = self._tape(model, optimizer, first * len(batches), run)
        model.train()
        ask = partial(self._asked, model, batches)
        with _watched(tape, batches) as watched, laid_out(model, ask, enabled=halved):
            for epoch in range(first, self.epochs):
                for step, batch in enumerate(watched, epoch * len(batches)):
                    share = step / (self.epochs * len(batches))
                    self._descend(model, batch, optimizer, share=share, halved=halved)
                self._keep(model, optimizer, run, epoch + 1, time.perf_counter() - started)
                self.progress("train", epoch + 1, self.epochs)
        if self.checkpoint is not None:
            forget_file(self.checkpoint)
        return model.eval()

    def describe(self) -> dict[str, Any]:
        """The settings that change what is learnt, as JSON."""
        silent = {"checkpoint", "progress", "record"}
        return {
            f.name: as_json(getattr(self, f.name)) for f in fields(self) if f.name not in silent
        }

    def halves(self, model: nn.Module) -> bool:
        """Whether passes of this model are computed in bf16."""
        return self.precision == "bf16" or (self.precision == "auto" and bf16_pays(model))

    def rate(self, share: float) -> float:
        """The learning rate after this share of all steps."""
        match self.schedule:
            case "cosine":
                return self.lr * 0.5 * (1 + math.cos(math.pi * share))
            case "onecycle":
                return self.lr * (share / 0.25 if share < 0.25 else (1 - share) / 0.75)
            case "constant":
                return self.lr

    def stepping(self, learning: Sequence[Tensor]) -> Optimizer:
        """What takes the steps, for these parameters."""
        if not learning:
            raise ModelDoesNotFit(
                "the model has no parameter that may learn",
                hint="set requires_grad on the layers that are to be trained.",
            )
        fused = all(p.is_floating_point() for p in learning)
        if self.optimizer == "adamw":
            return AdamW(learning, lr=self.lr, weight_decay=self.weight_decay, fused=fused)
        return SGD(
            learning,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            fused=fused,
        )

    def _asked(self, model: nn.Module, batches: Batches) -> None:
        self.task.loss(model, batches.take(batches.part.indices[:2]))

    def _descend(
        self, model: nn.Module, batch: Batch, optimizer: Optimizer, *, share: float, halved: bool
    ) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.rate(share)
        batch = batch if self.augment is None else self.augment(batch)
        with half(model, enabled=halved):
            with understood(model, batch, self.task):
                loss = self.task.loss(model, batch).mean()
            if self.penalty is not None:
                loss = loss + self.penalty(model, batch)
        if not loss.isfinite():
            raise Diverged(
                f"training: the loss is {loss.item()} after {share:.0%} of the run",
                hint="use a smaller learning rate; at the very start, look whether all samples are "
                "finite.",
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _tape(self, model: nn.Module, optimizer: Optimizer, first: int, run: str) -> Tape | None:
        if self.record is None:
            return None
        recording = Recording(self.record) if isinstance(self.record, Path) else self.record
        beside = tuple(name for name in ("augment", "penalty") if getattr(self, name) is not None)
        return Tape(model, optimizer, recording, first=first, run=run, beside=beside)

    def _keep(
        self, model: nn.Module, optimizer: Optimizer, run: str, epoch: int, seconds: float
    ) -> None:
        if self.checkpoint is None or epoch == self.epochs:
            return
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        tensors |= tensors_of(optimizer)
        tensors["rng"] = torch.get_rng_state()
        save_tensors(
            self.checkpoint, tensors, {"epoch": str(epoch), "run": run, "seconds": str(seconds)}
        )

    def _resumed(self, model: nn.Module, optimizer: Optimizer, run: str) -> tuple[int, float]:
        """Continue the same run where it stopped; start again if the checkpoint is of another.

        Returns the epochs that are done, and the seconds that they took.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            return 0, 0.0
        try:
            tensors, meta = load_tensors(self.checkpoint)
        except CannotRead:
            return 0, 0.0
        if meta.get("run") != run:
            return 0, 0.0
        kept = {name: value for name, value in tensors.items() if name.startswith("model.")}
        model.load_state_dict({name.removeprefix("model."): v for name, v in kept.items()})
        groups = optimizer.state_dict()["param_groups"]
        restore(optimizer, {"state": state_of(tensors), "param_groups": groups})
        torch.set_rng_state(tensors["rng"])
        return int(meta["epoch"]), float(meta.get("seconds", "0"))

    def _run(self, model: nn.Module, part: Part) -> str:
        """What makes this run: its settings, its samples, and where weights and chance start."""
        start = {"rng": torch.get_rng_state(), "ids": part.indices} | model.state_dict()
        return digest_json([self.describe(), digest_tensors(start)])


def spent(checkpoint: Path | None) -> float:
    """Seconds that a run took before it was interrupted; none, if nothing is kept of it."""
    if checkpoint is None or not checkpoint.exists():
        return 0.0
    try:
        return float(load_tensors(checkpoint)[1].get("seconds", "0"))
    except (CannotRead, ValueError):
        return 0.0


def untaped(recipe: Recipe) -> Recipe:
    """The same recipe for another model, which must not overwrite the history of the first."""
    if not isinstance(recipe.fit, Fit):
        return recipe
    return replace(recipe, fit=replace(recipe.fit, record=None))


@contextmanager
def _watched(tape: Tape | None, batches: Batches) -> Iterator[Iterable[Batch]]:
    if tape is None:
        yield batches
        return
    with tape:
        yield tape.watch(batches)
