"""What a membership attack is: one score a sample, higher for those that were trained on."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.efficacy import efficacy
from expunge.algebra.sampling import drawn
from expunge.errors import MissingInput
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One number a sample, in double precision."""

    member: Float[Tensor, " m"]
    nonmember: Float[Tensor, " n"]


@dataclass(frozen=True)
class Attack(ABC):
    """A way to tell members from non-members. Fields are settings."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel", "regression")

    @abstractmethod
    def score(self, snapshot: Snapshot) -> Scores:
        """Score the forget set and the samples that it may be compared with."""


def exchangeable(snapshot: Snapshot) -> tuple[Observation, Observation]:
    """The forget set, and test samples of the same classes in the same proportions.

    Comparing a forgotten class with a whole test set would measure the class, not the memory of
    it. Which test samples are taken depends on their ids alone, not on their order.
    """
    member, test = snapshot.forget, snapshot.test
    if len(member) == 0:
        raise MissingInput("nobody left the training set, so there are no members to look for")
    if member.kind != "classification":
        return member, test
    chosen = _matched(member.labels, test.labels, test.ids)
    if len(chosen) == 0:
        absent = sorted({*member.labels.tolist()} - {*test.labels.tolist()})
        raise MissingInput(f"the test set has no sample of class {absent[0]}, which is forgotten")
    return member, test.only(chosen)


def taken_for_unseen(snapshot: Snapshot, rows: int) -> float:
    """The share of the forget set that an attack takes for unseen, by the confidence.

    It learns from at most so many samples that stay and of the test set; which these are depends on
    their ids alone.
    """
    staying, unseen = (
        part.only(drawn(part.ids, rows)).confidence for part in (snapshot.retain, snapshot.test)
    )
    return efficacy(staying, unseen, snapshot.forget.confidence)


def _matched(
    wanted: Int[Tensor, " m"], labels: Int[Tensor, " n"], ids: Int[Tensor, " n"]
) -> Int[Tensor, " k"]:
    classes, counts = wanted.unique(return_counts=True)
    present = [(labels == k).nonzero().flatten() for k in classes]
    sizes = zip(present, counts.tolist(), strict=True)
    times = min(Fraction(len(rows), count) for rows, count in sizes)  # a float would round down
    if times == 0:
        return ids[:0]
    lottery = (ids * 2654435761) % 4294967296  # Knuth's hash: a fixed, order-free draw
    taken = [
        rows[lottery[rows].argsort()][: max(1, int(times * count))]
        for rows, count in zip(present, counts.tolist(), strict=True)
    ]
    return torch.cat(taken)
