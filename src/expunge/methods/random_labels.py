"""Random labels: teach the model that what must go could be anything.

Relabelling appears in Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net",
2020, and in most comparisons since. Every forget sample gets one wrong label, drawn among the
classes that remain, and keeps it. It costs one forward and backward pass of the forget set an
epoch, and of as many retain batches. BatchNorm is frozen.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from expunge.batching import Batches
from expunge.errors import TargetMismatch
from expunge.method import Case, Method
from expunge.request import Classes
from expunge.tasks import Kind


@dataclass(frozen=True)
class RandomLabels(Method):
    """Train the forget set towards wrong labels, and the retain set towards its own."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    epochs: int = 5
    lr: float = 1e-2
    retain: float = 1.0

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning = [p for p in model.parameters() if p.requires_grad]
        optimizer = SGD(learning, lr=self.lr, momentum=0.9)
        wrong = _wrong_labels(model, case)
        kept = case.retain.endless()
        for _ in range(self.epochs):
            for ids, batch in case.forget.indexed():
                logits = case.task.answer(model, batch).logits
                drawn = wrong[torch.searchsorted(case.forget.part.indices, ids)]
                loss = F.cross_entropy(logits, drawn.to(logits.device))
                if self.retain > 0:
                    loss = loss + self.retain * case.task.loss(model, next(kept)).mean()
                case.report.step(loss)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return model


@torch.no_grad()
def _wrong_labels(model: nn.Module, case: Case) -> Int[Tensor, " n"]:
    """One label for every forget sample: of a class that remains, and not its own."""
    own = torch.cat([case.task.labels(batch).cpu() for batch in _in_order(case)])
    first = case.forget.take(case.forget.part.indices[:1])
    allowed = torch.ones(len(own), case.task.answer(model, first).logits.shape[1])
    allowed[torch.arange(len(own)), own.long()] = 0
    for target in case.targets:
        if isinstance(target, Classes):
            allowed[:, list(target.labels)] = 0
    if not bool(allowed.any(1).all()):
        raise TargetMismatch(
            "no other class remains, so there is no wrong label to draw",
            hint="use neggrad or finetune, which need no other class.",
        )
    return torch.multinomial(allowed, 1).squeeze(1)


def _in_order(case: Case) -> Batches:
    return replace(case.forget, shuffle=False)
