"""Look at labels and attributes of all who train, once, before any model is asked.

How often every group goes with every class decides what a critic may know without features, and how
much there is to remove.
"""

from dataclasses import dataclass, replace
from typing import Literal, assert_never

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from expunge.detaching.attributes import Hidden, hidden
from expunge.detaching.grouping import Alike
from expunge.erasing.asking import Census, ask, refuse_told
from expunge.errors import BatchUnreadable
from expunge.method import Case, Report
from expunge.tasks import Batch, Kind, Task

Condition = Literal["task", "nothing"]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is true of some samples: every attribute that is to go, and the class."""

    z: tuple[Shaped[Tensor, " n"], ...]
    y: Int[Tensor, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What all who train show about the attributes that are to go."""

    task: Task
    census: Census  # of everybody, in the order of the part
    attributes: tuple[Hidden, ...]
    alike: Alike
    baseline: float  # the loss of who knows how frequent labels are, and nothing else

    def read(self, batch: Batch) -> Truth:
        """What is true of a batch."""
        labels = self.task.labels(batch)
        z = (each.read(_attribute(self.task, batch, each.name)) for each in self.attributes)
        return Truth(tuple(z), self.alike(labels))

    def shown(self, truth: Truth) -> Float[Tensor, "n e"]:
        """All attributes side by side, as a decoder is told them."""
        pairs = zip(self.attributes, truth.z, strict=True)
        return torch.cat([each.shown(z) for each, z in pairs], 1)


def survey(case: Case, condition_on: Condition = "task") -> Survey:
    """Read every label and attribute; refuse what cannot be removed, or only with the task."""
    kind, inside = case.task.kind, condition_on == "task"
    census = ask(replace(case, report=Report()), inside=inside)
    alike = Alike.of(census.labels, kind)
    for one in census.answers:
        refuse_told(one, alike(census.labels))
    alike = alike if inside else Alike.all()
    y = alike(census.labels)
    found = (hidden(one.name, one.values, y, len(alike)) for one in census.answers)
    baseline = _baseline(census.labels, kind)
    return Survey(case.task, replace(census, y=y), tuple(found), alike, baseline)


def _attribute(task: Task, batch: Batch, name: str) -> Shaped[Tensor, " n"]:
    z, size = task.attribute(batch, name), len(task.labels(batch))
    if z.numel() != size:
        raise BatchUnreadable(
            f"the attribute {name!r} of {size} samples is {tuple(z.shape)}",
            hint="return one number a sample: a group from 0, or a floating-point number.",
        )
    return z.flatten() if z.is_floating_point() else z.flatten().long()


def _baseline(labels: Shaped[Tensor, "n *k"], kind: Kind) -> float:
    """The least loss of who sees no inputs; one where that is zero, lest nothing else weigh."""
    entr, rows = torch.special.entr, labels.double().reshape(len(labels), -1)
    match kind:
        case "classification":
            found = entr(labels.long().bincount().double() / len(labels)).sum().item()
        case "multilabel":
            found = (entr(rows.mean(0)) + entr(1 - rows.mean(0))).mean().item()
        case "regression":
            found = rows.var(0, correction=0).mean().item()
        case _:
            assert_never(kind)
    return found or 1.0
