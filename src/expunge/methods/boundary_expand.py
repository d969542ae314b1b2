"""Boundary expand: move forgotten samples into a class that is then taken away.

Chen, Gao, Liu, Peng and Wang, "Boundary Unlearning: Rapid Forgetting of Deep Networks via Shifting
the Decision Boundary", 2023. The head gets a neuron for a shadow class; forgotten samples are
trained into it, and the neuron is pruned. What is left of their answers is spread over the classes
that remain, by nobody's choice. What differs: the neuron stands beside the head instead of in it,
so that the model never changes its shape; retained samples hold the rest in place by a share, and
``share=1.0`` is the published way, which needs none; the length is counted in steps; and long
gradients are shortened, without which a residual network with frozen BatchNorm diverged.

It costs a forward and backward pass of a forget and of a retain batch a step. For classes only, of
models whose logits are those of a last Linear. BatchNorm is frozen.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.descending import Descent, balance
from expunge.errors import ModelDoesNotFit
from expunge.method import Case, Method
from expunge.request import Classes, Target
from expunge.tasks import Batch, Kind
from expunge.tasks.layers import AUTO, answered


@dataclass(frozen=True)
class BoundaryExpand(Method):
    """Train a class into a shadow class beside it, and drop the shadow class."""

    handles: ClassVar[tuple[type[Target], ...]] = (Classes,)
    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.2  # of the forget term in the loss; at 1 no retained sample is needed
    momentum: float = 0.9  # of SGD
    clip: float = 1.0  # a longer gradient is shortened to this norm; 0: none is

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        descent = Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip)
        shadow = _shadow(model, case)
        descent.optimizer.add_param_group({"params": [*shadow.parameters()]})

        def away(batch: Batch) -> Float[Tensor, ""]:
            said = _widened(model, shadow, case, batch)
            last = said.new_full((len(said),), said.shape[1] - 1, dtype=torch.long)
            return F.cross_entropy(said, last)

        def stay(batch: Batch) -> Float[Tensor, ""]:
            said = _widened(model, shadow, case, batch)
            return F.cross_entropy(said, case.task.labels(batch).long())

        balance(
            descent, case.forget.endless(), away=away, stay=stay,
            steps=self.steps, share=self.share,
        )  # fmt: skip
        return model


def _shadow(model: nn.Module, case: Case) -> nn.Linear:
    """One more neuron for the head, as a fresh Linear draws it."""
    first = case.forget.take(case.forget.part.indices[:1])
    with torch.no_grad():
        found = answered(model, AUTO, lambda: case.task.answer(model, first).logits)
    if found.features is None:
        raise ModelDoesNotFit(
            "the model's logits are not those of a last Linear, so no class can be put beside them",
            hint="use boundary_shrink, which needs no such head.",
        )
    # Weights are as precise as the model's, where its passes are in half precision too.
    return nn.Linear(found.features.shape[1], 1).to(next(model.parameters()))


def _widened(model: nn.Module, shadow: nn.Linear, case: Case, batch: Batch) -> Float[Tensor, "n _"]:
    """Logits, and beside them that of the shadow class."""
    found = answered(model, AUTO, lambda: case.task.answer(model, batch).logits)
    return torch.cat([found.logits, shadow(found.embedding)], 1)
