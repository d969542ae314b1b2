"""Tug of war (ToW): closeness in accuracy to retrained models, on three sets, in one product.

Zhao and others, What Makes Unlearning Hard and What to Do About It, 2024: one less the distance to
the retrained models' accuracy, on the forget, retain and test sets, multiplied. One is ideal, and a
model that forgets by losing everything cannot reach it. In ToW-MIA the forget set's factor is about
how many forgotten samples an attack takes for unseen ones.

The same accuracy is not the same answers, and a mask over a logit is as good as retraining here: a
summary. What each reference scores against the others stands beside it; no interval does, because
a distance without its sign has no mean of zero.

No pass over the data; a support vector machine a model, on at most ``rows`` samples of each set.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from expunge.attack import taken_for_unseen
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Snapshot
from expunge.tasks import Kind


@dataclass(frozen=True)
class TugOfWar(Metric):
    """Product of closeness to the references' accuracies on three sets. One is ideal."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    rows: int = 1000  # samples of each set that the attack learns from, at most

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        _ = trial.compared  # raises where there are none
        if len(trial.after.forget) == 0:
            raise MissingInput("nobody left the training set, so there is no forget set to be like")
        for name, read in (("ToW", _accuracies), ("ToW-MIA", self._attacked)):
            found, before, among = trial.beside_mean(read, tug_of_war)
            yield Measurement(
                name,
                found,
                "higher",
                n=len(trial.after.forget),
                target=among,
                note=f"the original's is {before:.3f}; a mask over logits would score as well",
            )

    def _attacked(self, seen: Snapshot) -> Tensor:
        found = _accuracies(seen)
        found[0] = taken_for_unseen(seen, self.rows)
        return found


def tug_of_war(rates: Tensor, usual: Tensor) -> float:
    """One less every distance, multiplied."""
    return (1 - (rates - usual).abs()).prod().item()


def _accuracies(seen: Snapshot) -> Tensor:
    return torch.tensor([part.accuracy for part in (seen.forget, seen.retain, seen.test)]).double()
