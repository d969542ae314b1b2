"""Average gap: the mean distance to retrained models in four rates, in points.

The summary of Fan and others (SalUn, 2024), after Jia and others (Model Sparsity Can Simplify
Machine Unlearning, 2023): accuracy on the forget, retain and test sets, and the share of forgotten
samples that an attack takes for unseen ones. Zero is ideal, and no retrained model reaches it: what
each reference scores against the others stands beside it.

A summary that a mask over logits passes, like every look at answers alone. No pass over the data; a
support vector machine a model, on at most ``rows`` samples of each set.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from expunge.attack import taken_for_unseen
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Snapshot
from expunge.tasks import Kind


@dataclass(frozen=True)
class AvgGap(Metric):
    """Mean distance to the references in three accuracies and an attack, in points."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    rows: int = 1000  # samples of each set that the attack learns from, at most

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        _ = trial.compared  # raises where there are none
        if len(trial.after.forget) == 0:
            raise MissingInput("nobody left the training set, so there is no forget set to be like")
        rates = cache(self._rates)  # of a model once: each takes a support vector machine
        found, before, among = trial.beside_mean(rates, average_gap)
        gaps = dict(zip(_RATES, _gaps(trial, rates), strict=True))
        yield Measurement(
            "average gap (points)",
            found,
            "lower",
            n=len(trial.after.forget),
            target=among,
            note=", ".join(f"{name} {gap:+.1f}" for name, gap in gaps.items())
            + f"; the original's is {before:.2f}",
        )

    def _rates(self, seen: Snapshot) -> Tensor:
        accuracies = [part.accuracy for part in (seen.forget, seen.retain, seen.test)]
        return torch.tensor([*accuracies, taken_for_unseen(seen, self.rows)]).double()


def _gaps(trial: Trial, rates: Callable[[Snapshot], Tensor]) -> list[float]:
    theirs = torch.stack([rates(seen) for seen in trial.compared.snapshots]).mean(0)
    gaps: list[float] = (100 * (rates(trial.after) - theirs)).tolist()
    return gaps


_RATES = ("forget accuracy", "retain accuracy", "test accuracy", "taken for unseen")


def average_gap(rates: Tensor, usual: Tensor) -> float:
    """The mean distance, in points."""
    return 100 * (rates - usual).abs().mean().item()
