"""NegGrad: climb the loss on the forget set; with a retain term it is NegGrad+.

Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards Unbounded Machine Unlearning", 2023,
describe both. What differs: the length is counted in steps, not epochs, so that ten samples and
ten thousand are forgotten at the same price; and the climb is bounded: a sample stops counting
once the model gives its class no more than chance, because the loss has no upper end and a
network that is pushed on is wrecked. Momentum still carries some samples well past chance.

It costs one forward and backward pass of a forget and of a retain batch a step. BatchNorm is
frozen: its statistics are not to be taken from what must go.
"""

from dataclasses import dataclass
from itertools import repeat
from math import inf, log
from typing import ClassVar

from torch import nn
from torch.optim import SGD

from expunge.errors import BadSetting
from expunge.method import Case, Method, learning


@dataclass(frozen=True)
class NegGrad(Method):
    """Gradient ascent on what must go, held back by descent on what remains."""

    half: ClassVar[bool] = True

    steps: int = 100  # optimizer steps, whatever the size of the forget set
    lr: float = 0.02  # learning rate of SGD, constant
    share: float = 0.2  # of the forget term in the loss; at 1 it is NegGrad without the plus
    momentum: float = 0.9  # of SGD
    bounded: bool = True  # a sample at chance is not pushed further

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if not 0 <= self.share <= 1:
            raise BadSetting(f"share is {self.share}", hint="it lies between 0 and 1.")
        optimizer = SGD(learning(model), lr=self.lr, momentum=self.momentum)
        ceiling = _chance(model, case) if self.bounded else inf
        case.report.total = self.steps
        kept = case.retain.endless() if self.share < 1 else repeat(None)
        pairs = zip(case.forget.endless(), kept, strict=True)
        for _, (leaving, staying) in zip(range(self.steps), pairs, strict=False):
            loss = -self.share * case.task.loss(model, leaving).clamp_max(ceiling).mean()
            if self.share < 1:
                loss = loss + (1 - self.share) * case.task.loss(model, staying).mean()
            case.report.step(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model


def _chance(model: nn.Module, case: Case) -> float:
    """The loss of a guess; a regression has none."""
    match case.task.kind:
        case "classification":
            first = case.forget.take(case.forget.part.indices[:1])
            return log(case.task.answer(model, first).logits.shape[1])
        case "multilabel":
            return log(2)
        case "regression":
            return inf
