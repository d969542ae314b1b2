"""NegGrad: climb the loss on the forget set; with a retain term it is NegGrad+.

Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards Unbounded Machine Unlearning", 2023,
describe both. Here the climb is bounded: a sample stops counting once the model gives its class
no more than chance, because the loss has no upper end and a network that is pushed on is
wrecked. It costs one forward and backward pass of the forget set an epoch, and as many of
retain batches with ``retain`` above 0. BatchNorm is frozen: its statistics are not to be taken
from what must go.
"""

from dataclasses import dataclass
from math import inf, log

from torch import nn
from torch.optim import SGD

from expunge.method import Case, Method


@dataclass(frozen=True)
class NegGrad(Method):
    """Gradient ascent on what must go, held back by descent on what remains."""

    epochs: int = 5
    lr: float = 1e-2
    retain: float = 1.0
    bounded: bool = True

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = SGD(learning, lr=self.lr, momentum=0.9)
        ceiling = _chance(model, case) if self.bounded else inf
        kept = case.retain.endless()
        for batch in case.forget.epochs(self.epochs):
            loss = -case.task.loss(model, batch).clamp_max(ceiling).mean()
            if self.retain > 0:
                loss = loss + self.retain * case.task.loss(model, next(kept)).mean()
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
