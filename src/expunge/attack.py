"""What a membership attack is: one score a sample, higher for those that were trained on."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.efficacy import efficacy
from expunge.algebra.sampling import drawn
from expunge.ensembles import Pool, Shadows
from expunge.errors import MissingInput, ModelDoesNotFit
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

_LIKELIEST = 3  # the others add little (Salem et al., 2019)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One number a sample, in double precision."""

    member: Float[Tensor, " m"]
    nonmember: Float[Tensor, " n"]


@dataclass(frozen=True)
class Attack(ABC):
    """A way to tell members from non-members. Fields are settings."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel", "regression")
    single: ClassVar[bool] = False  # True: it may be sure of single samples, so few errors count

    @abstractmethod
    def score(self, snapshot: Snapshot) -> Scores:
        """Score the forget set and the samples that it may be compared with."""

    @property
    def others(self) -> str:
        """What its non-members are, for a reader."""
        return "samples of the test set"

    @classmethod
    def example(cls, shadows: Shadows) -> "Attack":
        """An instance for the contract suite; override it where the defaults are not enough."""
        del shadows
        return cls()


class Suspects(NamedTuple):
    """Samples that an attack judges, and where they stand in the pool of its shadow models."""

    seen: Observation
    places: Int[Tensor, " m"]

    @property
    def familiarity(self) -> Float[Tensor, " m"]:
        """How well the model under attack knows them."""
        return familiarity(self.seen)


def suspects(snapshot: Snapshot, shadows: Shadows) -> tuple[Suspects, Suspects]:
    """The forget set, and held-out samples of the same classes: those who came and went.

    Only these were in some shadow models and not in others, so that it is known what either means.
    """
    comes, pool = shadows.comes, shadows.pool
    if snapshot.forget.kind != pool.kind:
        raise ModelDoesNotFit(
            f"shadow models were asked for a {pool.kind} task, the model for a "
            f"{snapshot.forget.kind} task"
        )
    member = _those(snapshot.forget, pool.trained(snapshot.forget.ids), comes)
    other = _those(snapshot.test, pool.held_out(snapshot.test.ids), comes)
    for name, found in (("forgotten", member), ("held-out", other)):
        if len(found.places) == 0:
            raise MissingInput(
                f"no {name} sample came and went in the shadow models",
                hint="make them for this outcome: shadow_of(outcome, recipe).",
            )
        _check_alike(found, pool)
    around = Snapshot(member.seen, snapshot.retain, other.seen)
    matched = exchangeable(around)[1]
    return member, Suspects(matched, pool.held_out(matched.ids))


Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What scores of shadow models, and who was trained on whom, say of the scores of a target."""


def judged(
    rule: Rule, scores: Float[Tensor, "k n"], shadows: Shadows, *those: Suspects
) -> list[Float[Tensor, " _"]]:
    """Judge suspects by a rule, which learns from all who came and went."""
    comes, target = shadows.comes, scores[0].clone()  # of all others nothing is asked
    for some in those:
        target[some.places] = some.familiarity
    found = torch.full_like(target, torch.nan)
    found[comes] = rule(scores[:, comes], shadows.trained[:, comes], target[comes])
    return [found[some.places] for some in those]


def _those(seen: Observation, places: Tensor, comes: Tensor) -> Suspects:
    known = (places >= 0) & comes[places.clamp_min(0)]
    return Suspects(seen.only(known), places[known])


def _check_alike(found: Suspects, pool: Pool) -> None:
    hint = "make them with this outcome's split and recipe: shadow_of(outcome, recipe)."
    width = tuple(found.seen.logits.shape[1:])
    if width != pool.width:
        raise ModelDoesNotFit(
            f"the model answers {width} numbers a sample, its shadow models {pool.width}", hint=hint
        )
    if not torch.equal(found.seen.labels, pool.labels[found.places]):
        raise ModelDoesNotFit(
            "shadow models know samples of these numbers under other labels", hint=hint
        )


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


def familiarity(seen: Observation) -> Float[Tensor, " n"]:
    """How well a model knows every sample, on a scale on which models differ about normally.

    Phi; of several labels the mean of theirs; of numbers, how little the model is off.
    """
    match seen.kind:
        case "classification":
            return seen.phi
        case "multilabel":
            signs = 2 * (seen.labels > 0.5).double() - 1
            return (signs * seen.logits.double()).flatten(1).mean(1)
        case "regression":
            return -seen.losses.sqrt()


def likeliest(seen: Observation) -> Float[Tensor, "n r"]:
    """The largest log-probabilities of every sample, at most three; of no classes none."""
    if seen.kind != "classification":
        return torch.zeros(len(seen), 0)
    scores = seen.logits.double().log_softmax(1)
    return scores.topk(min(_LIKELIEST, scores.shape[1])).values.float()


def lottery(ids: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """A number for every sample, by which it is drawn or not: Knuth's hash, whatever the order."""
    return (ids * 2654435761) % 4294967296


def _matched(
    wanted: Int[Tensor, " m"], labels: Int[Tensor, " n"], ids: Int[Tensor, " n"]
) -> Int[Tensor, " k"]:
    classes, counts = wanted.unique(return_counts=True)
    present = [(labels == k).nonzero().flatten() for k in classes]
    sizes = zip(present, counts.tolist(), strict=True)
    times = min(Fraction(len(rows), count) for rows, count in sizes)  # a float would round down
    if times == 0:
        return ids[:0]
    taken = [
        rows[lottery(ids[rows]).argsort()][: max(1, int(times * count))]
        for rows, count in zip(present, counts.tolist(), strict=True)
    ]
    return torch.cat(taken)
