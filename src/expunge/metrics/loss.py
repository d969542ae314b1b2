"""Mean loss on the three sets: the one utility that every task has."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from expunge.algebra.statistics import mean_difference, mean_interval
from expunge.metric import Comparison, Goal, Measurement, Metric, Trial


@dataclass(frozen=True)
class Loss(Metric):
    """Mean loss, beside the original's and the references'."""

    relative_margin: float = 0.1

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if len(trial.after.forget):
            yield self._one(trial, "forget", "match")
        yield self._one(trial, "retain", "lower")
        yield self._one(trial, "test", "lower")

    def _one(self, trial: Trial, part: str, goal: Goal) -> Measurement:
        after, before = getattr(trial.after, part).losses, getattr(trial.before, part).losses
        theirs = [getattr(snapshot, part).losses for snapshot in trial.snapshots]
        found = mean_interval(after)
        return Measurement(
            f"{part} loss",
            found.value,
            goal,
            (found.low, found.high) if len(after) > 1 else None,
            n=len(after),
            original=mean_interval(before) if len(before) > 1 else None,
            target=tuple(values.mean().item() for values in theirs),
            comparison=self._compare(after, theirs),
            control=self._compare(before, theirs),
        )

    def _compare(self, losses: Tensor, references: list[Tensor]) -> Comparison | None:
        if not references:
            return None
        usual = sum(values.mean().item() for values in references) / len(references)
        return Comparison.of(mean_difference(losses, references), self.relative_margin * usual)
