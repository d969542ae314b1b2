"""Samples leave a model one group after another, and no group may do harm on its way.

A step takes a group out of one model that is changed in place. A step that does not lead away
from what leaves, or that costs too much on data that the model never saw, is taken back bit for
bit, and the notes say for which samples to retrain.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from expunge.errors import Diverged
from expunge.guarding import Guard
from expunge.method import Case
from expunge.moving import gradients, put_back, remembered
from expunge.observing import BATCH
from expunge.resuming import Trail

_MARKS = 20  # looks at retained samples in a run
_NAMED = 20  # samples that a note names; of more it gives the number


@dataclass(frozen=True, slots=True, eq=False)
class Leaving:
    """A group that is to leave, and what it pulls at the model with."""

    ids: Int[Tensor, " m"]
    waiting: Int[Tensor, " k"]  # others that must go, and are still in the model
    left: int  # samples that stay once it is gone, those among them
    loss: float  # its mean
    gradient: Mapping[str, Tensor]  # of the sum of its losses

    @property
    def norm(self) -> float:
        """Length of the gradient of its mean loss."""
        squares = [value.double().square().sum().item() for value in self.gradient.values()]
        return math.sqrt(sum(squares)) / len(self.ids)


Step = Callable[[Leaving], bool | None]
"""Moves the model; False where that would not forget, None where there is nothing to move."""


@dataclass(slots=True, eq=False)
class Stream:
    """One run over all that must go."""

    model: nn.Module
    case: Case
    guard: Guard
    trail: Trail
    drop: float  # what may be lost in all
    tally: Counter[str]  # what the steps count
    place: int = 0  # samples dealt with
    gone: int = 0
    refused: list[int] = field(default_factory=list)  # places of samples to retrain for
    still: list[int] = field(default_factory=list)  # places of samples that left nothing to move

    def run(self, step: Step, at_once: int) -> None:
        """Take out group after group, from where an interrupted run stood."""
        ids, report = self.case.forget.part.indices, self.case.report
        size = at_once or len(ids)
        groups = ids.split(size)
        self._resume()
        if not self.place:
            self.guard.begin(self.model)
        done, report.total = -(-self.place // size), len(groups)
        every = max(1, report.total // _MARKS)
        for count, group in enumerate(groups[done:], done + 1):
            self._one(step, group)
            self.place += len(group)
            if count % every == 0:
                self.guard.told_of_retained(self.model, self.place)
            self.trail.keep(self.model, self._state())
        self.trail.end()
        self._conclude(len(ids))

    def _one(self, step: Step, ids: Int[Tensor, " m"]) -> None:
        before, counted = remembered(self.model), Counter(self.tally)
        leaving = self._pulling(ids)
        self._told("before", leaving)
        self.case.report.step(torch.tensor(leaving.loss))
        moved = step(leaving)
        places = [*range(self.place + 1, self.place + len(ids) + 1)]
        if moved is None:
            self.still += places
        elif moved and self._harmless():
            self.gone += len(ids)
        else:
            put_back(self.model, before)
            self.tally.clear()
            self.tally.update(counted)
            self.refused += places
        self._told("after", self._pulling(ids))

    def _harmless(self) -> bool:
        if not all(value.isfinite().all() for value in self.model.parameters()):
            return False
        try:
            use = self.guard.use(self.model)
        except Diverged:
            return False
        if self.guard.lost(use) > self.drop:
            return False
        self.guard.told(self.place + 1, use)
        return True

    def _pulling(self, ids: Int[Tensor, " m"]) -> Leaving:
        loss, gradient = 0.0, dict[str, Tensor]()
        for chunk in ids.split(BATCH):
            total = self.case.task.loss(self.model, self.case.forget.take(chunk)).sum()
            loss += total.item() / len(ids)
            for name, value in gradients(self.model, total).items():
                gradient[name] = gradient[name] + value if name in gradient else value
        waiting = self._waiting(ids)
        left = len(self.case.retain.part) + len(waiting)
        return Leaving(ids, waiting, left, loss, gradient)

    def _waiting(self, ids: Int[Tensor, " m"]) -> Int[Tensor, " k"]:
        everybody = self.case.forget.part.indices
        passed = torch.tensor([*self.refused, *self.still], dtype=torch.long) - 1
        found = torch.cat([everybody[self.place :], everybody[passed]])
        return found[~torch.isin(found, ids)]

    def _told(self, when: str, leaving: Leaving) -> None:
        """How the group is known: what it must no longer be."""
        self.case.report.trace(f"{when} loss", self.place + 1, leaving.loss)
        self.case.report.trace(f"{when} gradient", self.place + 1, leaving.norm)

    def _conclude(self, count: int) -> None:
        note = self.case.report.note
        if self.refused:
            note(
                f"retrain for {_listed(self.refused, count)}: their steps would not have "
                f"forgotten them, or cost too much, and were taken back"
            )
        if self.still:
            note(f"nothing moved for {_listed(self.still, count)}: their loss never changed")
        note(f"{self.gone:,} of {count:,} samples were taken out")

    def _state(self) -> dict[str, Any]:
        return {
            "place": self.place,
            "gone": self.gone,
            "refused": self.refused,
            "still": self.still,
            "tally": self.tally,
            "traces": self.case.report.traces,
            "start": self.guard.start,
        }

    def _resume(self) -> None:
        state = self.trail.found(self.model)
        if state is None:
            return
        self.place, self.gone = state["place"], state["gone"]
        self.refused, self.still = [*state["refused"]], [*state["still"]]
        self.guard.start = state["start"]
        self.tally.update(state["tally"])
        traces = {name: [(s, v) for s, v in points] for name, points in state["traces"].items()}
        self.case.report.traces.update(traces)


def _listed(places: list[int], count: int) -> str:
    """Samples by their place among those that must go: positions in the data are nobody's."""
    named = ", ".join(map(str, places[:_NAMED]))
    more = f" and {len(places) - _NAMED:,} more" if len(places) > _NAMED else ""
    noun = "sample" if len(places) == 1 else "samples"
    return f"{noun} {named}{more} of the {count:,} that must go"
