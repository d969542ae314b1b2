"""The last layers only: fine-tune them on what remains (CF-k), or train them afresh (EU-k).

Goel, Prabhu, Sanyal, Lim, Torr and Kumaraguru, "Towards Adversarial Evaluation of Inexact Machine
Unlearning", 2022. All that lies before the last k layers is frozen, its BatchNorm statistics too,
and stays bit for bit. What differs: unless k is set, half of the layers learn; layers count in the
order of the forward pass, one for every matrix or kernel, and what normalises after it goes with
it; the learning rate follows a cosine to zero, which fresh layers need. It handles samples and
classes, in any task.

What the frozen layers know of the forget set remains, whatever the answers say: probes find it.

It costs one forward pass of the retain set an epoch, and the backward pass of the last layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from expunge.descending import Descent, epochs, mean_loss
from expunge.errors import BadSetting, ModelDoesNotFit
from expunge.method import Case, Method
from expunge.observing import evaluating
from expunge.representing import watched
from expunge.resetting import reset


@dataclass(frozen=True)
class CatastrophicLayers(Method):
    """Train the last layers alone on the retain set, as they are or from scratch."""

    half: ClassVar[bool] = True

    layers: int | None = None  # how many learn, from the end; None: half of them
    start: Literal["fresh", "trained"] = "fresh"  # trained: CF-k; fresh: EU-k
    epochs: int = 10  # passes over the retain set
    lr: float = 0.05  # learning rate of SGD, falling to zero
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4  # pull of every weight towards zero

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        last = self._last(model, case)
        inside = {id(p) for module in last for p in module.parameters(recurse=False)}
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.requires_grad and id(parameter) in inside)
        descent = Descent.of(
            model, case, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        shuffled = reset(last) if self.start == "fresh" else []
        if shuffled:
            case.report.note(f"no layer draws {', '.join(shuffled)}: their numbers were shuffled")
        for module in last:
            module.training = True
        epochs(descent, self.epochs, mean_loss(model, case), falling=True)
        return model

    def _last(self, model: nn.Module, case: Case) -> Sequence[nn.Module]:
        """The modules that learn, and what normalises among them."""
        order = _in_order(model, case)
        deep = [at for at, m in enumerate(order) if any(p.ndim > 1 for p in _own(m))]
        count = (len(deep) + 1) // 2 if self.layers is None else self.layers
        if not 1 <= count <= len(deep):
            raise BadSetting(
                f"layers is {count}, and the model has {len(deep)}",
                hint="name how many learn, from the end: at least one.",
            )
        if self.layers is None:
            case.report.settled({"layers": count})
        last = order[deep[-count] :]
        if self.start == "fresh" and any(not p.requires_grad for m in last for p in _own(m)):
            raise ModelDoesNotFit(
                f"some of the last {count} layers are frozen, and cannot be trained afresh",
                hint="set requires_grad on them, or fewer layers.",
            )
        return last


def _in_order(model: nn.Module, case: Case) -> list[nn.Module]:
    """Every module with weights of its own, in the order in which a pass first calls it."""
    named = {name: m for name, m in model.named_modules() if name and _own(m)}
    with torch.no_grad(), evaluating(model), watched(model, [*named]) as seen:
        case.task.answer(model, case.retain.take(case.retain.part.indices[:1]))
        return [named[name] for name in seen] or [model]


def _own(module: nn.Module) -> list[nn.Parameter]:
    return [*module.parameters(recurse=False)]
