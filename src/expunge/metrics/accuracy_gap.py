"""Accuracy less the references', on the three sets: the distance to retraining in one number."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from expunge.algebra.differences import mean_difference
from expunge.metric import Measurement, Metric, Trial
from expunge.tasks import Kind


@dataclass(frozen=True)
class AccuracyGap(Metric):
    """Difference in accuracy to the retrained references. Zero is ideal."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel")

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        parts = ("forget", "retain", "test") if len(trial.after.forget) else ("retain", "test")
        for part in parts:
            theirs = [getattr(s, part).correct for s in trial.compared.snapshots]
            own = getattr(trial.after, part).correct
            usual = sum(hits.mean().item() for hits in theirs) / len(theirs)
            found = mean_difference(own, theirs)
            before = mean_difference(getattr(trial.before, part).correct, theirs)
            yield Measurement(
                f"{part} accuracy gap",
                own.mean().item() - usual,
                "match",
                (found.interval.low, found.interval.high) if found else None,
                n=len(own),
                original=before.interval if before else None,
            )
