"""The shadow-model attack: a classifier that learnt from shadow models what members look like.

Shokri, Stronati, Song and Shmatikov, "Membership Inference Attacks Against Machine Learning
Models", 2017. What differs: one classifier, boosted trees, serves all classes and is told which; it
sees the three largest probabilities, which lose little (Salem et al., "ML-Leaks", 2019), and the
probability of the true class. Shadow models that were unlearned are asked afterwards. It judges all
records of a class alike, so that `lira` finds more with the same models; it is here for
completeness. It costs the shadow models and seconds of a processor.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from expunge.attack import Attack, Scores, familiarity, likeliest, suspects
from expunge.ensembles import Shadows
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

_MOST = 20_000  # answers to learn from: more change nothing that can be seen


@dataclass(frozen=True)
class Shokri(Attack):
    """A classifier of members and others, trained on what shadow models say of both."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    shadows: Shadows  # models whose members are known

    def score(self, snapshot: Snapshot) -> Scores:
        member, other = suspects(snapshot, self.shadows)
        told = self._learnt()
        found = [told.decision_function(self._of(some.seen).numpy()) for some in (member, other)]
        return Scores(*map(torch.from_numpy, found))

    def _learnt(self) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - heavy

        features, members = self._lessons()
        classifier = HistGradientBoostingClassifier(max_iter=50, early_stopping=False)
        return classifier.fit(features.numpy(), members.numpy())

    def _lessons(self) -> tuple[Float[Tensor, "m d"], Bool[Tensor, " m"]]:
        """What every shadow model says of all who came and went, and whether it knew them."""
        shadows, comes = self.shadows, self.shadows.comes
        labels = shadows.pool.labels[comes].repeat(len(shadows))
        scores, most = shadows.scores[:, comes].flatten(), shadows.likeliest[:, comes].flatten(0, 1)
        chance = torch.Generator().manual_seed(0)
        some = torch.randperm(len(scores), generator=chance)[:_MOST]
        features = self._joined(scores[some], most[some], labels[some])
        return features, shadows.trained[:, comes].flatten()[some]

    def _of(self, seen: Observation) -> Float[Tensor, "m d"]:
        return self._joined(familiarity(seen), likeliest(seen), seen.labels)

    def _joined(self, scores: Tensor, most: Tensor, labels: Tensor) -> Float[Tensor, "m d"]:
        classes = F.one_hot(labels, self.shadows.pool.width[0])
        return torch.cat([scores[:, None], most.double(), classes.double()], 1)

    @classmethod
    def example(cls, shadows: Shadows) -> "Shokri":
        """By the contract suite's shadow models."""
        return cls(shadows)
