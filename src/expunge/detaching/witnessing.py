"""What held-out features still tell an attribute by, to witnesses that have no part in training.

Critics that a model was trained against know only what they were shown. So a linear probe and a
small network learn from some validation samples, choose by others, and are scored by the rest. The
one that is better for the samples to choose by counts.
"""

from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.families import linear, networks
from expunge.algebra.gains import bits
from expunge.algebra.guessing import Asked, mixed, price
from expunge.algebra.information import Prior
from expunge.batching import Batches
from expunge.detaching.surveying import Survey
from expunge.erasing.asking import Answers, ask
from expunge.errors import MissingInput, RequestDoesNotFit
from expunge.method import Case, Report
from expunge.observing import BATCH, observe
from expunge.reserving import dealt, grouped
from expunge.splitting import Part

_MOST = 6000  # samples to look at
_LEAST = 20  # that probes learn from, choose by, and are scored by
_BETS = 0.1  # share of who sees the class alone in every guess
_PROBES = (linear, partial(networks, width=64, copies=1))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a model found."""

    epoch: int
    use: float  # accuracy; of a regression, minus its loss
    leak: float  # bits of all attributes together that probes find beyond the class, or zero


@dataclass(frozen=True, slots=True, eq=False)
class Witnesses:
    """Validation samples, and what is true of them."""

    case: Case
    unseen: Batches
    questions: tuple["_Question", ...]

    @classmethod
    def of(cls, case: Case, survey: Survey) -> "Witnesses | None":
        """Deal the validation samples out; None where there are too few to tell anything."""
        if case.validation is None:
            return None
        ids = case.validation.part.indices
        part = Part(case.validation.part.source, ids[torch.randperm(len(ids))[:_MOST]])
        unseen = replace(case.validation, part=part, size=BATCH, shuffle=False)
        try:
            census = ask(replace(case, retain=unseen, report=Report()), inside=True)
        except RequestDoesNotFit:
            return None
        y = survey.alike(census.labels)
        found = [_Question.about(one, y) for one in census.answers]
        return cls(case, unseen, tuple(found)) if all(each.fits for each in found) else None

    @property
    def worth(self) -> str:
        """What the use of a model is called."""
        return "loss" if self.case.task.kind == "regression" else "accuracy"

    def look(self, model: nn.Module, epoch: int) -> Look:
        """Read the features of all, and ask new probes."""
        seen = observe(model, self.unseen, self.case.task, features=True)
        if not seen.features:
            raise MissingInput(
                "the attribute is to go from the features, but the task's layer gives none",
                hint="name a layer: Classification(layer=...).",
            )
        (x,) = seen.features.values()
        use = -seen.losses.mean().item() if self.worth == "loss" else seen.accuracy
        return Look(epoch, use, sum(question.leak(x) for question in self.questions))


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Which group of an attribute is a sample in, for who knows its class?"""

    z: Int[Tensor, " n"]
    y: Int[Tensor, " n"]
    ways: tuple[Int[Tensor, " _"], ...]  # whom to learn from, to choose by, and to score by

    @classmethod
    def about(cls, answers: Answers, y: Int[Tensor, " n"]) -> "_Question":
        z = grouped(answers.values).of
        rows = (z >= 0).nonzero().flatten()
        cell = y[rows] * (int(z.max()) + 1) + z[rows]
        way = dealt(cell, rows, torch.zeros(len(rows), dtype=torch.bool))
        return cls(z, y, tuple(rows[way == k] for k in range(3)))

    @property
    def fits(self) -> bool:
        """Whether there are samples enough."""
        return min(map(len, self.ways)) >= _LEAST

    def leak(self, x: Float[Tensor, "n d"]) -> float:
        """Bits that the better probe gains."""
        first, groups, classes = self.ways[0], int(self.z.max()) + 1, int(self.y.max()) + 1
        prior = Prior.of(self.z[first], self.y[first], groups=groups, classes=classes)
        # A feature that hardly ever varies can be thousands of deviations away in another sample.
        x = x.clamp(x[first].amin(0), x[first].amax(0))
        learn, choose, score = (Asked.of(x[w], self.z[w], self.y[w], prior) for w in self.ways)
        guesses = [probe(learn, choose) for probe in _PROBES]
        best = min(guesses, key=lambda guess: price(guess, choose))
        return max(0.0, bits(mixed(best(score), score, _BETS), score).mean().item())
