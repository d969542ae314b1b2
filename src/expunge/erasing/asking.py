"""Ask the task what every sample answers about the attributes that must go, and refuse in time.

No model is asked. A request that cannot be met is refused before any sample passes through one.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from expunge.algebra.erasure import columns
from expunge.algebra.information import known
from expunge.batching import Batches
from expunge.errors import BatchUnreadable, RequestDoesNotFit
from expunge.method import Case
from expunge.observing import BATCH
from expunge.request import Attribute

_SAME = 1e-6  # of what numbers span; in a class in which they span less they are the same


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What every sample answers about one attribute: whole numbers name groups, others count.

    What is missing is a group below zero, or not a number.
    """

    name: str
    values: Shaped[Tensor, " n"]

    @property
    def known(self) -> Bool[Tensor, " n"]:
        """Who answers at all."""
        return known(self.values)

    def columns(self) -> Float[Tensor, "n k"]:
        """A column for every group that is met, or the one column of a number."""
        if self.values.is_floating_point():
            return self.values.double()[:, None]
        groups = self.values[self.known].unique()
        places = torch.searchsorted(groups, self.values)
        return columns(places.masked_fill(~self.known, -1), len(groups))

    def told(self, y: Int[Tensor, " n"]) -> str:
        """How many groups there are in the classes, and who did not answer."""
        found = [len(self.values[self.known & (y == k)].unique()) for k in y.unique()]
        span = f"{min(found)}" if min(found) == max(found) else f"{min(found)} to {max(found)}"
        kind = "a number" if self.values.is_floating_point() else f"{span} groups"
        where = f" in each of {len(found)} classes" if len(found) > 1 else ""
        missing = int((~self.known).sum())
        return f"{self.name!r} is {kind}{where}; {missing:,} of {len(y):,} samples have no answer"

    def is_said_by(self, labels: Shaped[Tensor, " n"]) -> bool:
        """Whether these labels are the attribute by another name."""
        z, labels = self.values[self.known], labels[self.known]
        if z.is_floating_point() or labels.is_floating_point():
            both = torch.stack([z.double(), labels.double()])
            return bool(torch.corrcoef(both)[0, 1].abs() > 1 - 1e-9)
        pairs = torch.stack([z, labels.long()], 1).unique(dim=0)
        return len(pairs) == len(z.unique()) == len(labels.unique())

    def is_told_by(self, y: Int[Tensor, " n"]) -> bool:
        """Whether in every class all who answer answer the same."""
        z, y = self.values[self.known], y[self.known]
        spans = torch.stack([z[y == k].max() - z[y == k].min() for k in y.unique()])
        whole = (z.max() - z.min()).item()
        return spans.max().item() <= (_SAME * whole if z.is_floating_point() else 0)


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """The answers and labels of all samples, in order, and the classes inside which to look."""

    answers: tuple[Answers, ...]
    labels: Shaped[Tensor, "n *k"]
    y: Int[Tensor, " n"]  # one class for all where nothing is conditioned on

    @property
    def names(self) -> str:
        """The attributes, in words."""
        return " and ".join(repr(one.name) for one in self.answers)

    @property
    def columns(self) -> Float[Tensor, "n k"]:
        """The columns of all attributes."""
        return torch.cat([one.columns() for one in self.answers], 1)


def ask(case: Case, *, inside: bool) -> Census:
    """What the retained samples answer; ``inside`` is whether each class is to be looked into.

    Attributes are refused that never differ, that nobody answers about, and that are nothing beyond
    the label; where no class is looked into, those that are the label by another name.
    """
    classed = inside and case.task.kind == "classification"
    names = [*dict.fromkeys(t.name for t in case.targets if isinstance(t, Attribute))]
    labels, *values = _read(case, names)
    answers = tuple(Answers(name, z) for name, z in zip(names, values, strict=True))
    for one in answers:
        _check(one)
        if not classed:
            _check_not_label(one, labels)
    if classed:
        y = _classes(labels)
        for one in answers:
            refuse_told(one, y)
        return Census(answers, labels, y)
    if inside:
        case.report.note(
            f"a {case.task.kind} task has no classes to look into: what labels tell of attributes "
            f"was removed too"
        )
    return Census(answers, labels, torch.zeros(len(labels), dtype=torch.long))


def refuse_told(answers: Answers, y: Int[Tensor, " n"]) -> None:
    """Refuse an attribute of which classes leave nothing to be known."""
    if answers.is_told_by(y):
        raise RequestDoesNotFit(
            f"the label tells the attribute {answers.name!r} without fail: removing it removes the "
            f"task",
            hint="choose another attribute, or another task.",
        )


def ordered(batches: Batches) -> Batches:
    """The same samples, always in the same order."""
    return replace(batches, size=BATCH, shuffle=False)


def _read(case: Case, names: list[str]) -> list[Tensor]:
    """The labels, then the answers about every attribute."""
    task, found = case.task, []
    for batch in replace(ordered(case.retain), device=torch.device("cpu")):
        asked = [_one_each(name, task.attribute(batch, name)) for name in names]
        found.append([task.labels(batch), *asked])
    return [torch.cat(some) for some in zip(*found, strict=True)]


def _one_each(name: str, z: Tensor) -> Shaped[Tensor, " n"]:
    if z.numel() != len(z):
        raise BatchUnreadable(
            f"the attribute {name!r} has the shape {tuple(z.shape)}, not one answer a sample",
            hint="name every answer as an attribute of its own.",
        )
    return z.flatten() if z.is_floating_point() else z.flatten().long()


def _classes(labels: Tensor) -> Int[Tensor, " n"]:
    if labels.ndim == 1 and not labels.is_floating_point() and int(labels.min()) >= 0:
        return labels.long()
    raise BatchUnreadable(
        f"labels are {labels.dtype} of shape {tuple(labels.shape)}, the least is "
        f"{labels.min().item()}",
        hint="number the classes from 0, one label a sample.",
    )


def _check(answers: Answers) -> None:
    found = answers.values[answers.known].unique()
    if len(found) == 0:
        raise RequestDoesNotFit(
            f"no retained sample answers about the attribute {answers.name!r}",
            hint="let the attribute be -1, or not a number, only where it is missing.",
        )
    if len(found) == 1:
        raise RequestDoesNotFit(
            f"the attribute {answers.name!r} is {found.item():g} for every retained sample that "
            f"answers, so nothing can tell it",
            hint="erase with samples that differ in it.",
        )
    if found.is_floating_point() and not bool(found.isfinite().all()):
        raise RequestDoesNotFit(
            f"the attribute {answers.name!r} is infinite for some samples",
            hint="let it be not a number where it is missing.",
        )


def _check_not_label(answers: Answers, labels: Tensor) -> None:
    for column in labels.reshape(len(labels), -1).unbind(1):
        if answers.is_said_by(column):
            raise RequestDoesNotFit(
                f"the attribute {answers.name!r} is the label by another name: removing it "
                f"removes the task",
                hint='condition_on="task" takes out only what features tell beyond the label.',
            )
