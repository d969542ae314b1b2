"""What who holds the model before and after reads from the difference: whom it is about.

An update tells on its own subject (Chen and others, When Machine Unlearning Jeopardizes Privacy,
2021): the samples whose answers change most are those that left. It does so after exact retraining
as well, so this is no failure to forget: it is what publishing both models costs. Deleting many at
once, or noise, makes it less.

The number is the AUC of how much surer the model before was of the true label, on forgotten samples
against those that stay; each reference's, in place of the model, stands beside it. No pass is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from expunge.algebra.statistics import Interval, auc
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot

_SIDES = ("forget", "retain")


@dataclass(frozen=True)
class UpdateLeakage(Metric):
    """How well the change of the answers tells forgotten samples from those that stay."""

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        gone, kept = len(trial.after.forget), len(trial.after.retain)
        if not gone or not kept:
            raise MissingInput("an update tells somebody from somebody else only where both are")
        found = _told(trial.before, trial.after)
        yield Measurement(
            "update leakage (AUC)",
            found.value,
            "lower",
            (found.low, found.high),
            n=gone,
            target=trial.targets(lambda seen: _told(trial.before, seen).value),
            note=f"{gone} forgotten samples against {kept} that stay; exact retraining tells whom "
            "it is about as well, so this is no failure to forget",
        )


def _told(before: Snapshot, after: Snapshot) -> Interval:
    return auc(*(_dropped(getattr(before, side), getattr(after, side)) for side in _SIDES))


def _dropped(before: Observation, after: Observation) -> Tensor:
    """How much surer the model was of every sample's label, sample by sample."""
    then, now = (_sure(seen.ordered) for seen in (before, after))
    return then - now


def _sure(seen: Observation) -> Tensor:
    return seen.phi if seen.kind == "classification" else -seen.losses
