"""RMIA: how confident the model is of a record, for how confident models are of it in general.

Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks", 2024. A score is the
share of population samples, which no model was trained with, whose ratio a record's own exceeds.
What differs: means are those of the models on one side alone, and the settings of the offline
attack are found on shadow models, never on the model under attack. Where fewer than a hundred
population samples are known, scores are the ratios themselves, which order records alike. Shadow
models that were unlearned are asked afterwards. It costs the shadow models; the attack itself takes
no pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from expunge.algebra.ratios import beaten, calibrated, offline_ratio, online_ratio
from expunge.attack import Attack, Scores, familiarity, suspects
from expunge.ensembles import Shadows
from expunge.observing import Snapshot
from expunge.tasks import Kind

_FEWEST = 100  # population samples: fewer make steps that are too coarse to tell records apart


@dataclass(frozen=True)
class Rmia(Attack):
    """Confidence in every record, relative to shadow models and to a population."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    single: ClassVar[bool] = True

    shadows: Shadows  # models with and without every record, and without a population
    mode: Literal["online", "offline"] = "online"  # whether models with a record are asked
    gamma: float = 1.0  # how many times a population ratio must be exceeded

    def score(self, snapshot: Snapshot) -> Scores:
        member, other = suspects(snapshot, self.shadows)
        target = self.shadows.scores[0].clone()  # of all others nothing is asked
        for some in (member, other):
            target[some.places] = some.familiarity
        outside = self._population(snapshot, target)
        ratios = self._ratio(target.sigmoid())
        if len(outside) >= _FEWEST:
            ratios = beaten(ratios, ratios[outside], gamma=self.gamma)
        return Scores(ratios[member.places], ratios[other.places])

    @property
    def _ratio(self) -> Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]:
        confidence, trained = self.shadows.scores.sigmoid(), self.shadows.trained
        if self.mode == "online":
            return partial(online_ratio, confidence, trained)
        comes = self.shadows.comes
        a = calibrated(confidence[:, comes], trained[:, comes])
        return partial(offline_ratio, confidence, trained, a=a)

    def _population(self, snapshot: Snapshot, target: Tensor) -> Tensor:
        """Where samples stand that no model was trained with; what is said of them is filled in."""
        places = self.shadows.pool.held_out(snapshot.test.ids)
        unknown = (places >= 0) & ~self.shadows.trained.any(0)[places.clamp_min(0)]
        target[places[unknown]] = familiarity(snapshot.test.only(unknown))
        return places[unknown]

    @classmethod
    def example(cls, shadows: Shadows) -> "Rmia":
        """By the contract suite's shadow models."""
        return cls(shadows)
