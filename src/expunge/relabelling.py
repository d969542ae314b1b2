"""Teach what must go another label: which labels are wrong, and how they are taught."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.descending import Descent, balance, classes, mean_loss
from expunge.errors import TargetMismatch
from expunge.method import Case
from expunge.observing import BATCH
from expunge.stopping import removed
from expunge.tasks import Batch
from expunge.tasks.reading import known_classes


def own_labels(case: Case) -> Int[Tensor, " n"]:
    """The labels of the forget set, in its own order."""
    ordered = replace(case.forget, size=BATCH, shuffle=False)
    return torch.cat([case.task.labels(batch).cpu().long() for batch in ordered])


@torch.no_grad()
def allowed(model: nn.Module, case: Case) -> Bool[Tensor, "n c"]:
    """Which classes are wrong for every forget sample, and remain."""
    own, known = own_labels(case), classes(model, case)
    known_classes(own, known)
    found = torch.ones(len(own), known, dtype=torch.bool)
    found[torch.arange(len(own)), own] = False
    found[:, removed(case)] = False
    if not bool(found.any(1).all()):
        raise TargetMismatch(
            "no other class remains, so there is no wrong label to draw",
            hint="use neggrad or finetune, which need no other class.",
        )
    return found


def wrong_labels(model: nn.Module, case: Case) -> Int[Tensor, " n"]:
    """One label for every forget sample, drawn: of a class that remains, and not its own."""
    return torch.multinomial(allowed(model, case).float(), 1).squeeze(1)


def relabelled(case: Case, labels: Int[Tensor, " n"]) -> Iterator[tuple[Any, Int[Tensor, " m"]]]:
    """Forget batches and their labels, again and again; a sample keeps the label it has."""
    while True:
        for ids, batch in case.forget.indexed():
            yield batch, labels[torch.searchsorted(case.forget.part.indices, ids)]


def teach(
    model: nn.Module,
    case: Case,
    descent: Descent,
    labels: Int[Tensor, " n"],
    *,
    steps: int,
    share: float,
) -> None:
    """Train the forget set towards these labels, and the retain set towards its own."""

    def away(given: tuple[Batch, Tensor]) -> Float[Tensor, ""]:
        logits = case.task.answer(model, given[0]).logits
        return F.cross_entropy(logits, given[1].to(logits.device))

    leaving, stay = relabelled(case, labels), mean_loss(model, case)
    balance(descent, leaving, away=away, stay=stay, steps=steps, share=share)
