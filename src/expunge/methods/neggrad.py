"""NegGrad: climb the loss on the forget set; with a retain term it is NegGrad+.

Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards Unbounded Machine Unlearning", 2023,
describe both, and both are here: ``share=1.0`` with ``bounded=False`` is plain ascent, and any
smaller share is NegGrad+, whose retain term has the weight ``1 - share``. What differs: the length
is counted in steps, not epochs, so that ten samples and ten thousand are forgotten at the same
price; and the climb is bounded: a sample stops counting once the model gives its class no more than
chance, because the loss has no upper end and a network that is pushed on is wrecked. Momentum still
carries some samples well past chance. Long gradients are shortened: a deep network whose BatchNorm
stands still has steep walls, and one step down them is the end of it.

It costs one forward and backward pass of a forget and of a retain batch a step. BatchNorm is
frozen: its statistics are not to be taken from what must go.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from expunge.descending import Descent, balance, climbing, mean_loss
from expunge.method import Case, Method


@dataclass(frozen=True)
class NegGrad(Method):
    """Gradient ascent on what must go, held back by descent on what remains."""

    half: ClassVar[bool] = True

    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.2  # of the forget term in the loss; at 1 it is NegGrad without the plus
    momentum: float = 0.9  # of SGD
    clip: float = 1.0  # a longer gradient is shortened to this norm; 0: none is
    bounded: bool = True  # a sample at chance is not pushed further

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        descent = Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip)
        balance(
            descent, case.forget.endless(),
            away=climbing(model, case, bounded=self.bounded), stay=mean_loss(model, case),
            steps=self.steps, share=self.share,
        )  # fmt: skip
        return model
