"""Zero retrain forgetting (ZRF): how much answers about the forgotten are like those of chance.

Chundawat, Tarun, Mandal and Kankanhalli, Can Bad Teaching Induce Forgetting?, 2023: one less the
Jensen-Shannon divergence, in bits, from the answers of an untrained network, on the forget set. As
one such network may lean one way, several are asked and their divergences averaged.

More is not better: a model that answers like chance where retrained ones do not is told by that.
What the retrained models score is the goal. One pass over the forget set for every untrained model.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.statistics import js_bits
from expunge.batching import Batches
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import BATCH, Snapshot, device_of, observe
from expunge.representing import untrained
from expunge.splitting import Part
from expunge.tasks import Kind


@dataclass(frozen=True)
class Zrf(Metric):
    """Likeness of the answers on the forget set to untrained models', against the references'."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    build: Callable[[], nn.Module] | None = None  # makes an untrained model; None: not measured
    teachers: int = 5  # untrained models
    margin: float = 0.05  # how far from the references' mean would not matter

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if len(trial.after.forget) == 0:
            raise MissingInput("nobody left the training set, so there is nothing to answer about")
        taught = self._teachers(trial)

        def read(seen: Snapshot) -> Tensor:
            return zrf(seen.forget.ordered.probabilities, taught)

        yield trial.averaged("ZRF", "match", read, self.margin)

    def _teachers(self, trial: Trial) -> Float[Tensor, "t n c"]:
        """What untrained models say about the forget set, in the order of its ids."""
        outcome, device = trial.outcome, device_of(trial.outcome.after)
        part = Part(outcome.split.forget.source, trial.after.forget.ids.sort().values)
        models = (untrained(self.build, device, seed) for seed in range(self.teachers))
        reader = Batches(part, BATCH, device=device)
        return torch.stack([observe(m, reader, outcome.task).probabilities for m in models])


def zrf(answers: Float[Tensor, "n c"], teachers: Float[Tensor, "t n c"]) -> Float[Tensor, " n"]:
    """One less the divergence of every answer from a teacher's, in bits, mean over teachers."""
    return 1 - torch.stack([js_bits(answers, each) for each in teachers]).mean(0)
