"""Ask models what they know of what was forgotten, and no more than decides whether they pass."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.sampling import drawn
from expunge.batching import Batches
from expunge.observing import Observation, device_of, evaluating
from expunge.splitting import Data, Part
from expunge.tasks import Batch, Task
from expunge.tasks.reading import moved

_AT_ONCE = 128  # samples of a pass

Marks = Mapping[str, float]
"""How right a model is, by what it is asked about."""

Shares = Mapping[str, Float[Tensor, " k"]]
"""The same of several models."""

Rows = Int[Tensor, " _"]


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """Samples that tell how far a model has come, in batches."""

    source: Data
    batches: tuple[Batch, ...]
    ids: Rows
    labels: Rows
    removed: tuple[int, ...]  # classes that left; none: single samples did
    name: str  # of all that is asked

    @classmethod
    def about(
        cls, source: Data, asked: Observation, removed: tuple[int, ...], name: str, most: int
    ) -> "Exam":
        """An exam on at most so many samples of what left, and as many of what stays."""
        gone = torch.isin(asked.labels, torch.tensor(removed).long())
        sides = (asked.only(gone), asked.only(~gone))
        seen = [side.only(drawn(side.ids, most)) for side in sides]
        ids, labels = (torch.cat([getattr(x, what) for x in seen]) for what in ("ids", "labels"))
        reader = Batches(Part(source, ids))
        batches = tuple(map(reader.take, ids.split(_AT_ONCE)))
        return cls(source, batches, ids, labels, removed, name)

    def marks(self, model: nn.Module, task: Task) -> Marks:
        """Share of right answers, less the share of false alarms; for each class, if several."""
        found = self.marked(lambda batch: answered(model, task, batch)[None], {})
        return {name: mark.item() for name, mark in found.items()}

    @torch.no_grad()
    def marked(self, ask: Callable[[Batch], Float[Tensor, "k n c"]], goals: Marks) -> Shares:
        """The marks of several models at once, by what they all answer to a batch.

        Who would miss every goal even if all that is left were right is not asked about that.
        """
        told, found = torch.empty(1, 0).long(), self._all(self.labels[None])
        for batch in self.batches:
            said = ask(batch).argmax(2).cpu()
            told = torch.cat([told.expand(len(said), -1), said], 1)
            left = self.labels[told.shape[1] :].expand(len(said), -1)
            found = self._all(torch.cat([told, left], 1))
            missed = [bool((found[name] < goal).all()) for name, goal in goals.items()]
            if missed and all(missed):
                break
        return found

    def _all(self, said: Int[Tensor, "k n"]) -> Shares:
        if not self.removed:
            return {self.name: (said == self.labels).double().mean(1)}
        found = {self.name: self._mark(said, self.removed)}
        for label in self.removed if len(self.removed) > 1 else ():
            found[f"removed class {label}"] = self._mark(said, (label,))
        return found

    def _mark(self, said: Int[Tensor, "k n"], classes: tuple[int, ...]) -> Float[Tensor, " k"]:
        among, stays = (torch.tensor(each).long() for each in (classes, self.removed))
        inside, kept = torch.isin(self.labels, among), ~torch.isin(self.labels, stays)
        right = (said == self.labels)[:, inside].double().mean(1)
        return right - torch.isin(said[:, kept], among).double().mean(1)


def answered(model: nn.Module, task: Task, batch: Batch) -> Float[Tensor, "n c"]:
    """What a model says in an exam."""
    with evaluating(model):
        logits: Tensor = task.answer(model, moved(batch, device_of(model))).logits
    return logits
