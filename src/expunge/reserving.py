"""Held-out samples for probes: what is known of each, and which of them may be learnt from.

No probe learns from samples that a model was trained on. Of these a method may leave nothing to be
learnt and much of all others: an erasure in closed form does so by construction, and a network that
knows its samples by heart places them where no others lie. So probes learn from validation samples
and a fifth of the test set (two fifths where there are hardly any), choose by a fifth, and are
scored by the rest, which nobody else has looked at.

All samples of a subject go the same way, and every group of every class goes all three ways.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from expunge.algebra.guessing import Standard
from expunge.algebra.information import known
from expunge.batching import Batches
from expunge.errors import BatchUnreadable, MissingInput
from expunge.observing import BATCH
from expunge.request import Attribute
from expunge.splitting import Part, Split
from expunge.tasks import Batch, Kind, Task

Rows = Int[Tensor, " _"]
Ways = tuple[Rows, Rows, Rows]
"""Whom probes learn from, whom they choose by, and whom they are scored by."""

_TURNS = {True: (0, 2, 1, 0, 2), False: (0, 2, 1, 2, 2)}  # by whether validation samples are few
_LEAST = 10  # samples that each of the three ways needs
_CUTS = (0.25, 0.5, 0.75)  # where numbers are cut into groups
_MOST = 64  # classes that are made of several labels
_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which group everybody is in, from 0, or -1 where nobody knows; and what groups are called."""

    of: Int[Tensor, " n"]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, slots=True, eq=False)
class Reserve:
    """Samples that no model was trained on: those for validation, then those of the test set."""

    parts: tuple[Part, ...]
    classes: Int[Tensor, " n"]
    attributes: Mapping[str, Groups]
    subjects: Int[Tensor, " n"] | None  # None: every sample is a subject of its own
    validation: int  # how many of the samples
    numbers: Float[Tensor, "n k"] | None = None  # the labels themselves; None: classes tell them

    def __len__(self) -> int:
        return len(self.classes)

    def batches(self, device: torch.device = _CPU) -> Iterator[Batch]:
        """All samples, in order."""
        for part in self.parts:
            yield from Batches(part, BATCH, device=device)

    def take(self, rows: Rows, device: torch.device, task: Task) -> Batch:
        """Some samples in one batch; their rows must ascend."""
        found, start = [], 0
        for part in self.parts:
            inside = rows[(rows >= start) & (rows < start + len(part))] - start
            start += len(part)
            if len(inside):
                found.append(Batches(part, device=device).take(part.indices[inside]))
        return reduce(task.join, found)

    def ways(self, name: str) -> Ways:
        """Deal out the samples whose attribute is known."""
        groups = self.attributes[name]
        rows = (groups.of >= 0).nonzero().flatten()
        if len(groups.of[rows].unique()) < 2:
            told = "is the same for all" if len(rows) else "is known of none"
            raise MissingInput(
                f"the attribute {name!r} {told} of {len(self)} held-out samples",
                hint="probes need samples of two groups in the validation or test set.",
            )
        cell = self.classes[rows] * len(groups) + groups.of[rows]
        whose = rows if self.subjects is None else self.subjects[rows]
        way = dealt(cell, whose, rows < self.validation)
        learn, choose, score = (rows[way == k] for k in range(3))
        fewest = min(len(learn), len(choose), len(score))
        if fewest < _LEAST:
            raise MissingInput(
                f"{len(rows)} held-out samples whose attribute {name!r} is known are too few to "
                f"learn from some, choose by some, and score by some",
                hint="give a larger test set, or validation data: split(..., validation=...).",
            )
        return learn, choose, score


def reserve(split: Split, task: Task, names: Sequence[str], subjects: str = "") -> Reserve:
    """Read what is known of all samples that no model was trained on.

    Args:
        split: Where they are.
        task: How to read them.
        names: The attributes to read.
        subjects: The attribute that tells whose a sample is; empty makes everyone a subject.
    """
    parts = tuple(p for p in (split.validation, split.test) if p is not None and len(p))
    read = [_read(part, task, [*names, *([subjects] if subjects else [])]) for part in parts]
    columns = {name: torch.cat([column[name] for column in read]) for name in read[0]}
    return Reserve(
        parts,
        _classes(columns[""], task.kind),
        {name: grouped(columns[name]) for name in names},
        columns[subjects].unique(return_inverse=True)[1] if subjects else None,
        sum(len(part) for part in parts[:-1]),
        _numbers(columns[""]) if task.kind == "regression" else None,
    )


def wanted(names: Sequence[str], split: Split) -> tuple[str, ...]:
    """The attributes to ask about: those named, else those that the requests name."""
    found = names or [t.name for t in split.targets if isinstance(t, Attribute)]
    if not found:
        raise MissingInput(
            "no request names an attribute",
            hint="Request(Attribute(...)), or say which to look at: names=('sex',).",
        )
    return tuple(dict.fromkeys(found))


def groups_of(part: Part, task: Task, name: str) -> Groups:
    """One attribute of the samples of a part, in order."""
    return grouped(_read(part, task, [name])[name])


def grouped(values: Shaped[Tensor, " n"]) -> Groups:
    """Numbered groups: whole numbers as they are, others cut where a quarter of all lies below.

    Where nearly all are the same number, as of a yes and no that was read as numbers, the cuts
    would all fall upon it: then the others are a group.
    """
    seen, of = known(values), torch.full((len(values),), -1)
    if not values.is_floating_point():
        found, of[seen] = values[seen].long().unique(return_inverse=True)
        return Groups(of, tuple(str(value) for value in found.tolist()))
    numbers = values[seen].double()
    if not len(numbers):
        return Groups(of, ())
    cuts = numbers.quantile(torch.tensor(_CUTS, dtype=torch.double)).unique()
    if bool((cuts <= numbers.min()).all()) and len(more := numbers[numbers > numbers.min()]):
        cuts = more.min()[None]
    found, of[seen] = torch.bucketize(numbers, cuts, right=True).unique(return_inverse=True)
    ends = ["", *(f"{cut:.3g}" for cut in cuts.tolist()), ""]
    return Groups(of, tuple(_span(ends[k], ends[k + 1]) for k in found.tolist()))


def dealt(
    cell: Int[Tensor, " n"], whose: Int[Tensor, " n"], aside: Bool[Tensor, " n"]
) -> Int[Tensor, " n"]:
    """0 for samples to learn from, 1 for those to choose by, 2 for those to score by.

    Subjects with a sample that is ``aside``, for validation, are learnt from. All others take turns
    in an order that is random but for their cell, so that each cell goes every way.
    """
    of = whose.unique(return_inverse=True)[1]
    people = int(of.max()) + 1
    taken = torch.zeros(people).index_add_(0, of, aside.float()) > 0
    kind = torch.zeros(people, dtype=torch.long).scatter_reduce(0, of, cell, "amax")
    order = torch.randperm(people, generator=torch.Generator().manual_seed(0))
    order = order[~taken[order]]
    order = order[kind[order].argsort(stable=True)]
    few = 5 * int(aside.sum()) < 2 * int((~aside).sum())
    way = torch.zeros(people, dtype=torch.long)
    way[order] = torch.tensor(_TURNS[few])[torch.arange(len(order)) % 5]
    dealt_out: Tensor = way[of]
    return dealt_out


def _read(part: Part, task: Task, names: Sequence[str]) -> dict[str, Tensor]:
    """Labels, by the name of nothing, and attributes of a whole part."""
    columns: dict[str, list[Tensor]] = {name: [] for name in ("", *names)}
    for batch in Batches(part, BATCH):
        labels = task.labels(batch)
        columns[""].append(labels)
        for name in names:
            columns[name].append(_single(task.attribute(batch, name), len(labels), name))
    return {name: torch.cat(found).cpu() for name, found in columns.items()}


def _single(values: Tensor, size: int, name: str) -> Tensor:
    if values.numel() == size:
        return values.flatten()
    raise BatchUnreadable(
        f"the attribute {name!r} of {size} samples has the shape {tuple(values.shape)}",
        hint="let the task's attributes=... give one value a sample.",
    )


def _classes(labels: Shaped[Tensor, "n *k"], kind: Kind) -> Int[Tensor, " n"]:
    """Samples of like labels; of numbers these are quarters, inside which the number tells more."""
    of: Tensor
    if kind == "classification":
        _, of = labels.unique(return_inverse=True)
        return of
    rows = labels.double().reshape(len(labels), -1)
    if kind == "multilabel":
        rows = (rows > 0.5).double()
    else:
        rows = torch.stack([grouped(column).of for column in rows.mT], 1).double()
    _, of, counts = rows.unique(dim=0, return_inverse=True, return_counts=True)
    common = counts.argsort(descending=True, stable=True).argsort()
    named: Tensor = common[of].clamp_max(_MOST - 1)
    return named


def _numbers(labels: Shaped[Tensor, "n *k"]) -> Float[Tensor, "n _"]:
    rows = labels.double().reshape(len(labels), -1)
    return Standard.of(rows)(rows).float()


def _span(low: str, high: str) -> str:
    if not low or not high:
        return f"below {high}" if high else f"from {low}"
    return f"{low} to {high}"
