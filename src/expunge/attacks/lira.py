"""LiRA: every record is judged by shadow models that were trained with it and others that were not.

Carlini, Chien, Nasr, Song, Terzis and Tramèr, "Membership Inference Attacks From First Principles",
2022. The attacker knows nothing of unlearning: shadow models are asked before they forgot anything;
one who knows is `ulira`. What differs: by default densities are Student's, whose parameters are
learnt from all records and corrected by each record's own scores, so that few models do not need
another estimator than many. Pooled variances are those about every record's own mean, on each side
by themselves. It costs the shadow models; the attack itself takes no pass.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from expunge.algebra.likelihoods import normal_ratio, standing, student_ratio
from expunge.attack import Attack, Rule, Scores, judged, suspects
from expunge.ensembles import Shadows
from expunge.observing import Snapshot

By = Literal["student", "normal", "pooled", "above", "below", "away"]


@dataclass(frozen=True)
class Lira(Attack):
    """Likelihood ratio of every record, by shadow models that knew it and others that did not."""

    single: ClassVar[bool] = True

    shadows: Shadows  # models with and without every record
    by: By = "student"  # densities of both sides, or how far from the models without the record

    def score(self, snapshot: Snapshot) -> Scores:
        those = suspects(snapshot, self.shadows)
        return Scores(*judged(self._rule, self.shadows.original, self.shadows, *those))

    @property
    def _rule(self) -> Rule:
        match self.by:
            case "student":
                return student_ratio
            case "normal":
                return normal_ratio
            case "pooled":
                return partial(normal_ratio, spread="pooled")
            case "above":
                return partial(standing, tail="greater")
            case "below":
                return partial(standing, tail="less")
            case "away":
                return partial(standing, tail="two")

    @classmethod
    def example(cls, shadows: Shadows) -> "Lira":
        """By the contract suite's shadow models."""
        return cls(shadows)
