"""Accuracy on the three sets, and on the test set of removed and of kept classes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from expunge.algebra.differences import mean_difference, rate_difference
from expunge.algebra.statistics import mean_interval
from expunge.metric import Exhibit, Goal, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

Pick = Callable[[Snapshot], Observation]


@dataclass(frozen=True)
class Accuracy(Metric):
    """Share of samples that the model gets right, beside the original's and the references'."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel")

    margin: float = 0.05  # how far from the references on what leaves would not matter
    utility_margin: float = 0.01  # how far below the references on what stays is no loss

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if len(trial.after.forget):
            yield self._one(trial, "forget accuracy", lambda s: s.forget, "match")
        yield self._one(trial, "retain accuracy", lambda s: s.retain, "higher")
        if not trial.after.removed:
            yield self._one(trial, "test accuracy", lambda s: s.test, "higher", _per_class(trial))
            return
        yield self._one(
            trial, "test accuracy, kept classes", lambda s: s.test_kept, "higher", _per_class(trial)
        )
        yield self._leaving(trial, "test accuracy, removed classes", lambda s: s.test_removed)
        for label in trial.after.removed if len(trial.after.removed) > 1 else ():
            pick = partial(Snapshot.only_of, label=label)  # no class may hide behind another
            yield self._leaving(trial, f"test accuracy, removed class {label}", pick)

    def _leaving(self, trial: Trial, name: str, pick: Pick) -> Measurement:
        return Measurement.attempt(name, lambda: self._one(trial, name, pick, "match"))

    def _one(
        self, trial: Trial, name: str, pick: Pick, goal: Goal, exhibit: Exhibit | None = None
    ) -> Measurement:
        def hits(snapshot: Snapshot) -> Tensor:
            return pick(snapshot).correct

        leaving = goal == "match"
        difference = rate_difference if leaving else mean_difference
        margin = self.margin if leaving else self.utility_margin
        comparison, control, selftest = trial.contrasts(hits, difference, margin)
        found = mean_interval(hits(trial.after))
        return Measurement(
            name,
            found.value,
            goal,
            (found.low, found.high),
            n=len(hits(trial.after)),
            original=mean_interval(hits(trial.before)),
            target=trial.targets(lambda s: hits(s).mean().item()),
            comparison=comparison,
            control=control,
            selftest=selftest,
            exhibit=exhibit,
        )


def _per_class(trial: Trial) -> Exhibit | None:
    if trial.after.test.kind != "classification":
        return None
    models = {"original": [trial.before], "unlearned": [trial.after]}
    if trial.snapshots:
        models["retrained"] = list(trial.snapshots)
    classes = trial.after.test.labels.unique().tolist()
    rows = [
        (str(k), name, sum(_accuracy_of(s, k) for s in snapshots) / len(snapshots))
        for k in classes
        for name, snapshots in models.items()
    ]
    labels, names, values = zip(*rows, strict=True)
    columns = {"class": list(labels), "accuracy": list(values), "model": list(names)}
    return Exhibit("bars", "Test accuracy by class", columns, x="class", y="accuracy", by="model")


def _accuracy_of(snapshot: Snapshot, label: int) -> float:
    return snapshot.test.only(snapshot.test.labels == label).accuracy
