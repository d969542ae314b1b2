"""U-LiRA: the attacker's shadow models were unlearned too, by the same method and settings.

Hayes, Shumailov, Triantafillou, Khalifa and Papernot, "Inexact Unlearning Needs More Careful
Evaluations to Avoid a False Sense of Privacy", 2024. Two games: *privacy* asks whether a record was
forgotten or never there, given one unlearned model; *efficacy* asks whether the model was unlearned
or retrained, given a record that was forgotten. What differs: densities are Student's, as in
`lira`. In the game of efficacy non-members are the same records under models retrained on the
retain set, each judged by all others; members are judged by all but one in turn, so that both know
as much. A method that answers everybody alike defeats the game of privacy: never read it without
accuracies, and the other game. It costs the shadow models; the attack itself takes no pass.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra.likelihoods import student_ratio
from expunge.attack import Attack, Scores, Suspects, judged, suspects
from expunge.ensembles import Shadows
from expunge.errors import MissingInput
from expunge.observing import Snapshot


@dataclass(frozen=True)
class Ulira(Attack):
    """Likelihood ratio of every record, by shadow models that were unlearned as the model was."""

    single: ClassVar[bool] = True

    shadows: Shadows  # models that forgot every record, and models that never knew it
    game: Literal["privacy", "efficacy"] = "privacy"  # never known, or retrained

    def score(self, snapshot: Snapshot) -> Scores:
        if not self.shadows.method:
            raise MissingInput(
                "the shadow models were not unlearned",
                hint="make them with a method: shadow_of(outcome, recipe).",
            )
        member, other = suspects(snapshot, self.shadows)
        if self.game == "efficacy":
            return self._efficacy(member)
        return Scores(*judged(student_ratio, self.shadows.scores, self.shadows, member, other))

    def _efficacy(self, member: Suspects) -> Scores:
        retrained = self._retrained(member.places)
        unlearned = self._unlearned(member.places)
        told, theirs = [], []
        for k in range(len(retrained)):
            others = torch.cat([unlearned, retrained[:k], retrained[k + 1 :]])
            was = torch.zeros_like(others, dtype=torch.bool)
            was[: len(unlearned)] = True
            told.append(student_ratio(others, was, member.familiarity))
            theirs.append(student_ratio(others, was, retrained[k]))
        return Scores(torch.stack(told).mean(0), torch.cat(theirs))

    def _unlearned(self, places: Tensor) -> Float[Tensor, "u m"]:
        """What models say that forgot a record; as many for every record as for the rarest."""
        forgotten, scores = self.shadows.forgotten[:, places], self.shadows.scores[:, places]
        fewest = int(forgotten.sum(0).min())
        first = forgotten.int().argsort(dim=0, descending=True, stable=True)[:fewest]
        return scores.gather(0, first)

    def _retrained(self, places: Tensor) -> Float[Tensor, "r m"]:
        if len(self.shadows.retrained) < 2:
            raise MissingInput(
                f"the game of efficacy takes several retrained models, there are "
                f"{len(self.shadows.retrained)}",
                hint="shadow_of(outcome, recipe, retrained=8).",
            )
        return torch.stack([each.scores[places] for each in self.shadows.retrained])

    @property
    def others(self) -> str:
        return super().others if self.game == "privacy" else "answers of retrained models"

    @classmethod
    def example(cls, shadows: Shadows) -> "Ulira":
        """By the contract suite's shadow models."""
        return cls(shadows)
