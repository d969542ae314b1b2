"""SalUn: change only the weights that matter to what must go.

Fan, Liu, Zhang, Wong, Wei and Liu, "SalUn: Empowering Machine Unlearning via Gradient-based Weight
Saliency in Both Image Classification and Generation", 2024. The gradient of the loss on the whole
forget set tells which weights matter: a share of them, those with the largest, may move; then
forget samples are taught random wrong labels, or their loss is climbed, while retained samples hold
the rest in place. What differs: the share is exact over the whole network; length and weighting are
counted as in ``random_labels``; the climb is bounded as in ``neggrad``, and long gradients are
shortened as there.

It costs one forward and backward pass of the forget set for the mask, then one of a forget and of a
retain batch a step. It handles samples and classes. BatchNorm is frozen, and every weight outside
the mask keeps all its bits.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.descending import Descent, balance, climbing, mean_loss
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.relabelling import teach, wrong_labels
from expunge.tasks import Kind


@dataclass(frozen=True)
class Salun(Method):
    """Relabel or climb on the forget set, in the weights that it matters to most."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    salient: float = 0.5  # share of all weights that may move
    way: Literal["labels", "ascent"] = "labels"  # labels: random wrong ones; ascent: of the loss
    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.1  # of the forget term in the loss
    momentum: float = 0.9  # of SGD
    clip: float = 1.0  # a longer gradient is shortened to this norm; 0: none is

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if not 0 < self.salient <= 1:
            raise BadSetting(f"salient is {self.salient}", hint="it lies above 0, up to 1.")
        descent = Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip)
        descent = replace(descent, masks=_masks(model, case, self.salient))
        if self.way == "labels":
            labels = wrong_labels(model, case)
            teach(model, case, descent, labels, steps=self.steps, share=self.share)
            return model
        balance(
            descent, case.forget.endless(),
            away=climbing(model, case), stay=mean_loss(model, case),
            steps=self.steps, share=self.share,
        )  # fmt: skip
        return model


def _masks(model: nn.Module, case: Case, share: float) -> list[Float[Tensor, "..."]]:
    """One where a weight may move: for the share of all with the steepest loss on what must go."""
    weights = learning(model)
    slopes = [torch.zeros_like(w) for w in weights]
    for batch in replace(case.forget, shuffle=False):
        loss = case.task.loss(model, batch).sum()
        found = torch.autograd.grad(loss, weights, materialize_grads=True)
        slopes = [a + b for a, b in zip(slopes, found, strict=True)]
    flat = torch.cat([slope.abs().flatten() for slope in slopes])
    mask = torch.zeros_like(flat)
    mask[flat.topk(ceil(share * len(flat))).indices] = 1
    pieces = mask.split([w.numel() for w in weights])
    return [piece.view(w.shape) for piece, w in zip(pieces, weights, strict=True)]
