"""Fine-tuning: keep training on what remains and let the rest fade.

The oldest baseline of the field, without a paper of its own. The rate falls to zero: one that stays
where it was cost a residual network with BatchNorm much of what it knew of unseen pictures.
`falling=False` keeps it. It costs one forward and backward pass of the retain set an epoch.
BatchNorm and dropout run in training mode: only retained samples pass through.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.descending import Descent, epochs, mean_loss
from expunge.method import Case, Method


@dataclass(frozen=True)
class Finetune(Method):
    """Keep training on the retain set."""

    half: ClassVar[bool] = True

    epochs: int = 5  # passes over the retain set
    lr: float = 0.1  # learning rate of SGD, at first
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4  # pull of every weight towards zero
    falling: bool = True  # the rate follows a cosine to zero; False: it stays

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        descent = Descent.of(
            model, case, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        epochs(descent, self.epochs, mean_loss(model.train(), case), falling=self.falling)
        return model
