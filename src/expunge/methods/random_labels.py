"""Random labels: teach the model that what must go could be anything.

Relabelling appears in Golatkar, Achille and Soatto, "Eternal Sunshine of the Spotless Net",
2020, and in most comparisons since. Every forget sample gets one wrong label, drawn among the
classes that remain, and keeps it. What differs: the length is counted in steps, and forget and
retain samples are weighted by a share, so that a small forget set does not wreck the model. It
costs one forward and backward pass of a forget and of a retain batch a step. BatchNorm is frozen.
Expect samples to end up *less* likely than unseen ones: that, too, gives them away.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from expunge.errors import BadSetting, TargetMismatch
from expunge.method import Case, Method, learning
from expunge.request import Classes
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

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if not 0 <= self.share <= 1:
            raise BadSetting(f"share is {self.share}", hint="it lies between 0 and 1.")
        optimizer = SGD(learning(model), lr=self.lr, momentum=self.momentum)
        case.report.total = self.steps
        kept = case.retain.endless() if self.share < 1 else repeat(None)
        pairs = zip(_relabelled(model, case), kept, strict=True)
        for _, ((leaving, wrong), staying) in zip(range(self.steps), pairs, strict=False):
            logits = case.task.answer(model, leaving).logits
            loss = self.share * F.cross_entropy(logits, wrong.to(logits.device))
            if self.share < 1:
                loss = loss + (1 - self.share) * case.task.loss(model, staying).mean()
            case.report.step(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model


def _relabelled(model: nn.Module, case: Case) -> Iterator[tuple[Any, Int[Tensor, " n"]]]:
    """Forget batches and their wrong labels, again and again; a sample keeps the label it drew."""
    wrong = _wrong_labels(model, case)
    while True:
        for ids, batch in case.forget.indexed():
            yield batch, wrong[torch.searchsorted(case.forget.part.indices, ids)]


@torch.no_grad()
def _wrong_labels(model: nn.Module, case: Case) -> Int[Tensor, " n"]:
    """One label for every forget sample: of a class that remains, and not its own."""
    ordered = replace(case.forget, shuffle=False)
    own = torch.cat([case.task.labels(batch).cpu().long() for batch in ordered])
    first = case.forget.take(case.forget.part.indices[:1])
    allowed = torch.ones(len(own), case.task.answer(model, first).logits.shape[1])
    allowed[torch.arange(len(own)), own] = 0
    for target in case.targets:
        if isinstance(target, Classes):
            allowed[:, list(target.labels)] = 0
    if not bool(allowed.any(1).all()):
        raise TargetMismatch(
            "no other class remains, so there is no wrong label to draw",
            hint="use neggrad or finetune, which need no other class.",
        )
    return torch.multinomial(allowed, 1).squeeze(1)
