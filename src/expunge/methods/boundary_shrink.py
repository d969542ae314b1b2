"""Boundary shrink: give every forgotten sample to the class across its nearest boundary.

Chen, Gao, Liu, Peng and Wang, "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting
the Decision Boundary", 2023. One adversarial step up the loss shows in the original which other
class lies nearest to a forgotten sample; fine-tuning on these labels moves the boundary over the
class, and its room goes to its neighbours. What differs: retained samples hold the rest in place by
a share, and ``share=1.0`` is the published way, which needs none; the length is counted in steps,
the adversarial step in deviations of the inputs; a class that leaves too is never the nearest; and
long gradients are shortened, as in ``random_labels``.

It costs two passes of the forget set for the labels, then a forward and backward pass of a forget
and of a retain batch a step. For classes only, of inputs that are one tensor of floating-point
numbers. BatchNorm is frozen.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from expunge.descending import Descent
from expunge.looking import inputs_of
from expunge.method import Case, Method
from expunge.relabelling import allowed, teach
from expunge.request import Classes, Target
from expunge.tasks import Kind


@dataclass(frozen=True)
class BoundaryShrink(Method):
    """Teach each sample of a class the nearest other class, and the retain set its own."""

    handles: ClassVar[tuple[type[Target], ...]] = (Classes,)
    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    stride: float = 0.5  # of the adversarial step, in standard deviations of the inputs
    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.1  # of the forget term in the loss; at 1 no retained sample is needed
    momentum: float = 0.9  # of SGD
    clip: float = 1.0  # a longer gradient is shortened to this norm; 0: none is

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        descent = Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip)
        labels = _nearest(model, case, self.stride)
        teach(model, case, descent, labels, steps=self.steps, share=self.share)
        return model


def _nearest(model: nn.Module, case: Case, stride: float) -> Int[Tensor, " n"]:
    """The class that every forget sample falls to, one signed step up its loss."""
    said, task = [], case.task
    for batch in replace(case.forget, shuffle=False):
        x = inputs_of(task, batch, need="adversarial steps need")
        moving = x.detach().requires_grad_()
        loss = task.loss(model, task.with_inputs(batch, moving)).sum()
        (slope,) = torch.autograd.grad(loss, moving)
        with torch.no_grad():
            crossed = x + stride * x.std(correction=0) * slope.sign()
            said.append(task.answer(model, task.with_inputs(batch, crossed)).logits.float().cpu())
    return torch.cat(said).masked_fill(~allowed(model, case), -torch.inf).argmax(1)
