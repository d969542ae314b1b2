"""What held-out features still tell an attribute by, to witnesses that have no part in training.

Critics that a model was trained against know only what they were shown. So a linear probe and a
small network learn from some validation samples, choose by others, and are scored by yet others, in
turns, until all were scored. Of features and logits what tells more counts: features can hide what
they tell from probes that learn from few.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.families import linear, networks
from expunge.algebra.gains import bits
from expunge.algebra.guessing import Asked, price
from expunge.algebra.information import Prior
from expunge.batching import Batches
from expunge.detaching.surveying import Survey
from expunge.erasing.asking import Answers, ask
from expunge.errors import MissingInput, RequestDoesNotFit
from expunge.method import Case, Report
from expunge.observing import BATCH, observe
from expunge.reserving import grouped
from expunge.splitting import Part

_MOST = 6000  # samples to look at
_FOLDS = 4  # of them: probes are scored by each, choose by the next, and learn from the others
_LEAST = 20  # in a fold
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
        places = x.flatten(1), seen.logits.reshape(len(x), -1)
        return Look(epoch, use, sum(question.leak(places) for question in self.questions))


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """Which group of an attribute is a sample in, for who knows its class?"""

    z: Int[Tensor, " n"]
    y: Int[Tensor, " n"]
    folds: tuple[Int[Tensor, " _"], ...]

    @classmethod
    def about(cls, answers: Answers, y: Int[Tensor, " n"]) -> "_Question":
        z = grouped(answers.values).of
        rows = (z >= 0).nonzero().flatten()
        rows = rows[torch.randperm(len(rows))]
        cell = y[rows] * (int(z.max()) + 1) + z[rows]
        rows = rows[cell.argsort(stable=True)]  # so that each cell goes to every fold
        return cls(z, y, tuple(rows[k::_FOLDS].sort().values for k in range(_FOLDS)))

    @property
    def fits(self) -> bool:
        """Whether there are samples enough."""
        return min(map(len, self.folds)) >= _LEAST

    def leak(self, places: Sequence[Float[Tensor, "n _"]]) -> float:
        """Bits that the best probe gains at the best of some places: each fold is scored once."""
        found = [self._gained(places, k) for k in range(_FOLDS)]
        return max(0.0, torch.cat(found).mean().item())

    def _gained(self, places: Sequence[Float[Tensor, "n _"]], turn: int) -> Float[Tensor, " m"]:
        """What is gained on one fold, by who chose by the next and learnt from all others."""
        score, choose, *others = (self.folds[k - turn] for k in range(_FOLDS))
        first, groups, classes = torch.cat(others), int(self.z.max()) + 1, int(self.y.max()) + 1
        prior = Prior.of(self.z[first], self.y[first], groups=groups, classes=classes)
        found = []
        for x in places:
            # What hardly ever varies can be thousands of deviations away in another sample.
            near = x.clamp(x[first].amin(0), x[first].amax(0))
            learnt, aside, asked = (
                Asked.of(near[w], self.z[w], self.y[w], prior) for w in (first, choose, score)
            )
            for probe in _PROBES:
                guess = probe(learnt, aside)
                found.append((price(guess, aside), bits(guess(asked), asked)))
        return min(found, key=lambda each: each[0])[1]
