"""The last layers only: fine-tune them on what remains (CF-k), or train them afresh (EU-k).

Goel, Prabhu, Sanyal, Lim, Torr and Kumaraguru, "Towards Adversarial Evaluations for Inexact
Machine Unlearning", 2022. All that a pass calls before the last k layers is frozen, its BatchNorm
statistics too, and stays bit for bit; what comes after is in training mode. What differs: unless k
is set, half of the layers learn; a layer is a module that the pass calls, with matrices or kernels
of its own or of parts that are never called, and layers count in that order; the learning rate
follows a cosine to zero, which fresh layers need. It handles samples and classes, in any task.

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
        inside = {id(p) for p in _all(last)}
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
        """The modules from the first layer that learns to the end."""
        order = _in_order(model, case)
        deep = [at for at, parts in enumerate(order) if any(p.ndim > 1 for p in _all(parts))]
        count = (len(deep) + 1) // 2 if self.layers is None else self.layers
        if not 1 <= count <= len(deep):
            raise BadSetting(
                f"layers is {count}, and the model has {len(deep)}",
                hint="name how many learn, from the end: at least one.",
            )
        if self.layers is None:
            case.report.settled({"layers": count})
        last = [module for parts in order[deep[-count] :] for module in parts]
        if self.start == "fresh" and not all(p.requires_grad for p in _all(last)):
            raise ModelDoesNotFit(
                f"some of the last {count} layers are frozen, and cannot be trained afresh",
                hint="set requires_grad on them, or fewer layers.",
            )
        return last


def _in_order(model: nn.Module, case: Case) -> list[list[nn.Module]]:
    """Every module in the order in which a pass first calls it, with what it never calls inside."""
    called: dict[nn.Module, None] = {}
    handles = [
        module.register_forward_pre_hook(lambda module, _args: called.setdefault(module))
        for module in model.modules()
    ]
    try:
        with torch.no_grad(), evaluating(model):
            case.task.answer(model, case.retain.take(case.retain.part.indices[:1]))
    finally:
        for handle in handles:
            handle.remove()

    def parts(module: nn.Module) -> list[nn.Module]:
        silent = [child for child in module.children() if child not in called]
        return [module, *(part for child in silent for part in parts(child))]

    return [parts(module) for module in called]


def _all(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters(recurse=False)]
