"""The swap test: the run under attack, and its mirror, in which forgotten and held-out swapped.

Tu, Hu and Ma, "Towards Reliable Empirical Machine Unlearning Evaluation", 2025. Records that are
hard are hard in both runs, so what is left of an attack is what unlearning leaves. Members are the
forgotten samples of either run, non-members the same samples where they were held out. The highest
advantage of a threshold on these scores is the paper's; its measure of quality is one less that.
What differs: the attack is one signal, so that nothing is learnt that would have to be tried on
other samples. For a retrained model beside a mirror that was unlearned badly, half of what the
mirror leaks remains: read it against the references. It costs one training and one unlearning.
"""

from dataclasses import dataclass

import torch

from expunge.attack import Attack, Scores, suspects
from expunge.ensembles import Shadows
from expunge.errors import MissingInput
from expunge.observing import Snapshot


@dataclass(frozen=True)
class Swap(Attack):
    """How well a model knows what it forgot, beside its mirror, which forgot the others."""

    shadows: Shadows  # with the mirror

    def score(self, snapshot: Snapshot) -> Scores:
        mirror = self.shadows.mirror
        if mirror is None:
            raise MissingInput(
                "there is no mirror of this run, in which forgotten and held-out samples swapped",
                hint="shadow_of(outcome, recipe, mirror=True).",
            )
        member, other = suspects(snapshot, self.shadows)
        return Scores(
            torch.cat([member.familiarity, mirror.scores[other.places]]),
            torch.cat([other.familiarity, mirror.scores[member.places]]),
        )

    @property
    def others(self) -> str:
        return "samples that were held out, here or in the mirror"

    @classmethod
    def example(cls, shadows: Shadows) -> "Swap":
        """By the contract suite's shadow models."""
        return cls(shadows)
