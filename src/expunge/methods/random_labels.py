"""Random labels: teach the model that what must go could be anything.

Relabelling appears in Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net",
2020, and in most comparisons since. Every forget sample gets one wrong label, drawn among the
classes that remain, and keeps it. What differs: the length is counted in steps, forget and retain
samples are weighted by a share, so that a small forget set does not wreck the model, and long
gradients are shortened, so that a deep network with frozen BatchNorm is not wrecked either. It
costs one forward and backward pass of a forget and of a retain batch a step. BatchNorm is frozen.
A few samples end up *less* likely than unseen ones, which gives them away too; of thousands, a
hundred steps leave most better known.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.descending import Descent
from expunge.method import Case, Method
from expunge.relabelling import teach, wrong_labels
from expunge.tasks import Kind


@dataclass(frozen=True)
class RandomLabels(Method):
    """Train the forget set towards wrong labels, and the retain set towards its own."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.1  # of the forget term in the loss
    momentum: float = 0.9  # of SGD
    clip: float = 1.0  # a longer gradient is shortened to this norm; 0: none is

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        descent = Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip)
        teach(model, case, descent, wrong_labels(model, case), steps=self.steps, share=self.share)
        return model
