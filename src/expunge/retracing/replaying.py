"""Take recorded steps again without the forget set, by the optimizer that took them first.

Each step reads the retained samples of its batch and no others; one of which nothing stays is left
out. From the beginning of a run on, this is retraining: the same start, order and augmentation.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from expunge.history import History, Start, Step
from expunge.history.carrying import restore
from expunge.method import Case
from expunge.precision import bf16_pays, channels_last, half
from expunge.retracing.belonging import check_gradient
from expunge.retracing.path import Ordered, Window, retrace
from expunge.retracing.renewing import live
from expunge.tasks import Batch
from expunge.tasks.reading import mapped

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A model, set back to where a window begins, and the optimizer that moves it from there."""

    model: nn.Module
    case: Case
    optimizer: Optimizer
    gone: Bool[Tensor, " n"]  # the forgotten, of all samples
    augment: Callable[[Batch], Batch] | None
    halved: bool
    norms: tuple[str, ...]  # layers that keep statistics, and kept them in training

    @classmethod
    def at(
        cls,
        start: Start,
        history: History,
        model: nn.Module,
        case: Case,
        *,
        augment: Callable[[Batch], Batch] | None = None,
        precision: Precision = "auto",
    ) -> "Replay":
        """Set the model back, in training mode but for statistics that stood still."""
        norms = live(model, start.model)
        halved = precision == "bf16" or (precision == "auto" and bf16_pays(model))
        if halved:
            ids = torch.cat([case.retain.part.indices, case.forget.part.indices])[:2]
            channels_last(model, lambda: case.task.answer(model, case.retain.take(ids)))
        model.load_state_dict(start.model)
        moved = {name for names in history.groups for name in names} - history.still
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in moved)
        _train(model, norms)
        optimizer = _optimizer(history, model, start)
        gone = absent(case, history.size)
        return cls(model, case, optimizer, gone, augment, halved, tuple(norms))

    def run(self, steps: Sequence[Step]) -> Counter[str]:
        """Take every step again; return how many were, and how many samples were asked."""
        report, tally = self.case.report, Counter[str]()
        report.total = len(steps)
        for step in steps:
            left = self._left(step)
            if left < self._least:
                tally["skipped"] += 1
                continue
            self._set(step)
            report.step(self.pull(step))
            self.optimizer.step()
            tally.update(taken=1, gradients=left)
        return tally

    def compare(self, window: Window, ordered: Ordered) -> bool:
        """Compare the loss with that of the first recorded batch which stays as a whole.

        The path is retraced to it without any sample, and the model is left where it was. False
        if there is no such batch, or if a gradient on the way was never kept, or was purged.
        """
        way = self._way(window.steps) if isinstance(self.optimizer, SGD) else ()
        if not way or any(step.gradient() is None for step in way):
            return False
        start = deepcopy(self.model.state_dict())
        path = retrace(replace(window, steps=way), ordered, ordered.place(self.model))
        last = deque(path, maxlen=1).pop()
        ordered.put(self.model, last.before.place)
        self.pull(last.step)
        found = ordered.vector(self._gradient(), last.gradient)
        check_gradient(last.gradient, found, step=last.step.number)
        self.model.load_state_dict(start)
        return True

    def pull(self, step: Step) -> Tensor:
        """Leave the gradient of what stays in the parameters; return the loss."""
        self.optimizer.zero_grad()
        if step.rng is not None:
            torch.set_rng_state(step.rng)
        total, found = self._left(step), []
        for ids in step.ids:
            stays = ~self.gone[ids]
            if not stays.any():
                continue
            share = int(stays.sum()) / total  # one where nothing is accumulated
            with half(self.model, enabled=self.halved):
                loss = self.case.task.loss(self.model, self._batch(ids, stays, step)).mean()
            (loss * share).backward()
            found.append(loss.detach() * share)
        for name in step.still:
            self.model.get_parameter(name).grad = None
        return torch.stack(found).sum()

    def _way(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps up to the first whose batch stays as a whole; none where there is no such."""
        for count, step in enumerate(steps, 1):
            ids = torch.cat(step.ids)
            if len(ids) and not self.gone[ids].any():
                return steps[:count]
        return ()

    def _gradient(self) -> dict[str, Tensor]:
        return {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}

    @property
    def _least(self) -> int:
        # One sample has no statistics: nothing could be trained on it.
        return 2 if self.norms else 1

    def _left(self, step: Step) -> int:
        return sum(int((~self.gone[ids]).sum()) for ids in step.ids)

    def _batch(self, ids: Int[Tensor, " b"], stays: Bool[Tensor, " b"], step: Step) -> Batch:
        """What stays of a batch, augmented by the draws that it had."""
        if self.augment is None:
            return self.case.retain.take(ids[stays])
        if step.rng is None:
            return self.augment(self.case.retain.take(ids[stays]))
        # Each sample has its own draws: in the places of the forgotten stand retained ones.
        filled = torch.where(stays, ids, ids[stays][0])
        batch = self.augment(self.case.retain.take(filled))
        return mapped(batch, lambda leaf: _rows(leaf, stays))

    def _set(self, step: Step) -> None:
        """Set every group of parameters as it was in this step."""
        for group, settings in zip(self.optimizer.param_groups, step.settings, strict=True):
            group.update(_as_torch(settings))


def absent(case: Case, size: int) -> Bool[Tensor, " n"]:
    """Which of all samples are to be forgotten."""
    gone = torch.zeros(size, dtype=torch.bool)
    gone[case.forget.part.indices] = True
    return gone


def _train(model: nn.Module, norms: Mapping[str, Any]) -> None:
    model.train()
    for name, module in model.named_modules():
        if getattr(module, "track_running_stats", False) and name not in norms:
            module.eval()


def _optimizer(history: History, model: nn.Module, start: Start) -> Optimizer:
    """The recorded optimizer, with what it remembered, in the kind of steps that it took."""
    groups = [{"params": [model.get_parameter(n) for n in names]} for names in history.groups]
    made = SGD(groups, lr=1.0) if history.optimizer == "sgd" else AdamW(groups)
    restore(made, start.optimizer)
    return made


def _as_torch(settings: Mapping[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = dict(settings)
    with suppress(KeyError):
        found["betas"] = (found.pop("beta1"), found.pop("beta2"))
    if "nesterov" in found:
        found["nesterov"] = bool(found["nesterov"])
    return found


def _rows(leaf: Any, chosen: Bool[Tensor, " b"]) -> Any:
    return leaf[chosen.to(leaf.device)] if isinstance(leaf, Tensor) else leaf
