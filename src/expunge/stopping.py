"""When to stop: once the model treats what must go like data that it never saw.

A removed class is done with when it is hardly recognised any more, in what was forgotten and in
what was never seen: a model can learn the one by heart and still know the other. Where so few
samples tell that chance alone may spare them all, it must not be held likely either. Single
samples are done with when their mean loss has risen to that of unseen samples of the same classes,
or, where there are enough of them, when they are recognised no more often than those. Unseen means
validation data: the test set is for the audit, and no method may look at it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.method import Case
from expunge.observing import BATCH, Observation, observe
from expunge.request import Classes
from expunge.splitting import Part

ENOUGH = 50
"""Samples from which on an accuracy says something."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the model found."""

    done: bool  # nothing that must go is treated otherwise than unseen data
    kept: float  # accuracy on what stays
    missed: float = 1.0  # share of unseen samples, matched to what must go, that are not known


class Watch:
    """Looks at a model in evaluation mode now and then, and leaves no trace in it."""

    def __init__(
        self,
        case: Case,
        *,
        goal: float,
        sent: Mapping[int, int] | None = None,
        most: int = 5000,
    ) -> None:
        """Choose once which samples to look at: at most so many of each part.

        Single samples whose label is in ``sent`` were mislabelled: they are done with when the
        model calls them by the class that they are sent to as often as it knows unseen samples
        of that class.
        """
        self._case, self._goal, self._sent = case, goal, dict(sent or {})
        self._best = 0.0  # how often unseen samples were known, at the best look so far
        self._removed = torch.tensor(removed(case), dtype=torch.long)
        self._forget = _some(case.forget, most)
        aside = None if case.validation is None else _unlike(case, case.validation, most)
        self._unseen = aside if aside is not None and len(aside.part) else None
        self._retained = _some(case.retain, most)
        self._kept = self._unseen or self._retained

    def blind(self, labels: Int[Tensor, " n"]) -> bool:
        """Whether nothing tells when single samples of these labels are done with."""
        left = [k for k in labels.unique().tolist() if k not in {*removed(self._case), *self._sent}]
        if not left or self._unseen is None:
            return bool(left)
        unseen = [self._case.task.labels(batch) for batch in self._unseen]
        return matched(torch.tensor(left), torch.cat(unseen).long().cpu()) is None

    def look(self, model: nn.Module, step: int) -> Look:
        """Ask the model about forgotten and about other samples; write both into the traces."""
        gone = observe(model, self._forget, self._case.task)
        there = observe(model, self._kept, self._case.task)
        of_class, also = self._of_removed(gone.labels), self._of_removed(there.labels)
        kept = there.only(~also)
        if len(kept) == 0:  # unseen samples of removed classes alone say nothing of what stays
            kept = observe(model, self._retained, self._case.task)
        name = "validation" if self._unseen else "retain"
        self._case.report.trace("forget accuracy", step, gone.accuracy)
        self._case.report.trace(f"{name} accuracy", step, kept.accuracy)
        done = (
            self._class_done(gone.only(of_class))
            and self._class_done(there.only(also))
            and self._samples_done(gone.only(~of_class), kept)
        )
        return Look(done, kept.accuracy, self._missed(gone.only(~of_class), kept))

    def _missed(self, gone: Observation, unseen: Observation) -> float:
        """How often unseen samples of the classes of what must go are not known."""
        known = len(gone) > 0 and self._unseen is not None
        weights = matched(gone.labels, unseen.labels) if known else None
        return 1.0 if weights is None else 1 - (weights * unseen.correct).sum().item()

    def _class_done(self, gone: Observation) -> bool:
        if len(gone) == 0 or gone.accuracy > self._goal:
            return len(gone) == 0
        fine = len(gone) * self._goal >= 1  # else one sample more or less is too coarse a measure
        return fine or gone.confidence.mean().item() <= self._goal

    def _samples_done(self, gone: Observation, unseen: Observation) -> bool:
        called = torch.tensor(
            [self._sent.get(label, -1) for label in gone.labels.tolist()], dtype=torch.long
        )
        wrong = called >= 0
        return self._as_called(gone.only(wrong), called[wrong], unseen) and self._as_unseen(
            gone.only(~wrong), unseen
        )

    def _as_called(self, gone: Observation, called: Int[Tensor, " n"], unseen: Observation) -> bool:
        """Whether mislabelled samples are called what they are as often as unseen ones."""
        if len(gone) == 0:
            return True
        weights = None if self._unseen is None else matched(called, unseen.labels)
        asked = 1 - self._goal if weights is None else (weights * unseen.correct).sum().item()
        return (gone.logits.argmax(1) == called).double().mean().item() >= asked

    def _as_unseen(self, gone: Observation, unseen: Observation) -> bool:
        if len(gone) == 0:
            return True
        weights = None if self._unseen is None else matched(gone.labels, unseen.labels)
        if weights is None:
            return False
        accuracy = (weights * unseen.correct).sum().item()
        loss = (weights * unseen.losses).sum().item()
        self._best = max(self._best, accuracy)  # what was lost on the way can be mended later
        fewer = len(gone) >= ENOUGH and gone.accuracy <= self._best
        return fewer or gone.losses.mean().item() >= loss

    def _of_removed(self, labels: Tensor) -> Bool[Tensor, " n"]:
        return torch.isin(labels, self._removed)


def removed(case: Case) -> list[int]:
    """The classes that leave as a whole."""
    found: Iterable[Classes] = (t for t in case.targets if isinstance(t, Classes))
    return sorted({int(label) for target in found for label in target.labels})


def matched(wanted: Int[Tensor, " n"], there: Int[Tensor, " m"]) -> Tensor | None:
    """Weights that give ``there`` the classes of ``wanted`` in equal parts; None if it has none."""
    classes = int(max(wanted.max(), there.max())) + 1 if len(there) else 0
    if not classes:
        return None
    asked, had = wanted.bincount(minlength=classes), there.bincount(minlength=classes)
    each = (asked / had.clamp_min(1))[there].double()
    return each / each.sum() if each.sum() > 0 else None


def _some(batches: Batches, most: int) -> Batches:
    ids = batches.part.indices
    chosen = ids[torch.randperm(len(ids))[:most].sort().values]
    return replace(batches, part=Part(batches.part.source, chosen), size=BATCH, shuffle=False)


def _unlike(case: Case, validation: Batches, most: int) -> Batches:
    """Validation samples that are not among those that must go; copies are no yardstick."""
    some = _some(validation, most)
    known = set(_prints(case, replace(case.forget, size=BATCH, shuffle=False)))
    prints = _prints(case, some)
    new = torch.tensor([mark not in known for mark in prints], dtype=torch.bool)
    if len(prints) == len(some.part) and not new.all():
        case.report.note(
            f"{int((~new).sum())} of {len(prints)} validation samples are among those that must "
            f"go; they are no yardstick and were left out"
        )
        return replace(some, part=Part(some.part.source, some.part.indices[new]))
    return some


def _prints(case: Case, batches: Batches) -> list[float]:
    """A number for every sample that its exact copy shares; none where inputs are no tensor."""
    found: list[float] = []
    for batch in batches:
        x = case.task.inputs(batch)
        if not isinstance(x, Tensor):
            return []
        rows = x.reshape(len(x), -1).double()
        found += (rows * _ruler(rows.shape[1]).to(rows)).sum(1).tolist()
    return found


def _ruler(length: int) -> Tensor:
    """A direction in general position: two different samples hardly ever share a projection."""
    return torch.rand(length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
