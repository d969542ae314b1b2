"""How differently the model answers for the groups of an attribute, before and after.

Demographic parity asks how often each group is given each answer; equalised odds ask the same among
samples of one true class; the worst group has the lowest accuracy of all. Gaps are about what a
model does with an attribute, and not about what it knows: it can be fair and tell all, and where
groups differ in truth, it can tell nothing and treat them unlike.

Every interval holds for the largest of all gaps at once. Rates that stand on few samples are left
out and counted. No pass over the data: the answers are in the snapshots, the attribute is read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from expunge.algebra.fairness import ENOUGH, Extreme, demographic_parity, equalised_odds, worst
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Goal, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot
from expunge.reserving import Groups, groups_of, wanted
from expunge.splitting import Part
from expunge.tasks import Kind

Read = Callable[[Observation, Groups], Extreme | None]


@dataclass(frozen=True)
class Fairness(Metric):
    """Gaps between the groups of an attribute in what the model answers, and the worst group."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    names: tuple[str, ...] = ()  # attributes; empty: those that the requests name
    least: int = ENOUGH  # samples from which on a rate is compared with others

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        outcome = trial.outcome
        ids = trial.after.test.ids.sort().values
        for name in wanted(self.names, outcome.split):
            groups = groups_of(Part(outcome.split.test.source, ids), outcome.task, name)
            one = partial(self._one, trial, groups)
            yield one(f"demographic parity gap, {name}", "lower", self._parity)
            yield one(f"equalised odds gap, {name}", "lower", self._odds)
            found = one(f"worst-group accuracy, {name}", "higher", self._worst)
            yield replace(found, exhibit=_table(trial, groups, name))
            cell = partial(_smallest_cell, trial, groups, name)
            yield Measurement.attempt(f"smallest cell, {name}", cell)

    def _one(self, trial: Trial, groups: Groups, name: str, goal: Goal, read: Read) -> Measurement:
        found = read(_test(trial.after), groups)
        if found is None:
            return Measurement(name, None, goal, status="insufficient", note=self._too_few(groups))
        before = read(_test(trial.before), groups)
        theirs = [read(_test(seen), groups) for seen in trial.snapshots]
        return Measurement(
            name,
            found.interval.value,
            goal,
            (found.interval.low, found.interval.high),
            n=int((groups.of >= 0).sum()),
            original=None if before is None else before.interval,
            target=tuple(each.interval.value for each in theirs if each is not None),
            note=_told(found, groups),
        )

    def _parity(self, seen: Observation, groups: Groups) -> Extreme | None:
        predicted, classes = seen.logits.argmax(1), seen.logits.shape[1]
        return demographic_parity(predicted, groups.of, classes=classes, least=self.least)

    def _odds(self, seen: Observation, groups: Groups) -> Extreme | None:
        predicted, classes = seen.logits.argmax(1), seen.logits.shape[1]
        return equalised_odds(predicted, seen.labels, groups.of, classes=classes, least=self.least)

    def _worst(self, seen: Observation, groups: Groups) -> Extreme | None:
        return worst(seen.correct > 0, groups.of, least=self.least)

    def _too_few(self, groups: Groups) -> str:
        sizes = groups.of[groups.of >= 0].bincount(minlength=len(groups)).tolist()
        return (
            f"not measured: too few groups have rates on {self.least} test samples; "
            f"their sizes are {sizes}"
        )


def _test(seen: Snapshot) -> Observation:
    """The test set in the order of its ids, in which attributes were read."""
    return seen.test.only(seen.test.ids.argsort())


def _told(found: Extreme, groups: Groups) -> str:
    lower = f"group {groups.words[found.group]} has the lower rate; the rarest rate stands on"
    left = f"; {found.left_out} rates on fewer samples were left out" if found.left_out else ""
    return f"{lower} {found.fewest} samples{left}"


def _smallest_cell(trial: Trial, groups: Groups, name: str) -> Measurement:
    """How many test samples the rarest group of any class has."""
    labels = _test(trial.after).labels
    sizes = {
        (int(label), word): int(((labels == label) & (groups.of == group)).sum())
        for label in labels.unique()
        for group, word in enumerate(groups.words)
    }
    if not sizes:
        raise MissingInput(f"the attribute {name!r} is known of no test sample")
    label, word = min(sizes, key=lambda cell: sizes[cell])
    fewest, note = float(sizes[label, word]), f"group {word} of class {label}"
    return Measurement(f"smallest cell, {name}", fewest, "higher", n=len(labels), note=note)


def _table(trial: Trial, groups: Groups, name: str) -> Exhibit:
    """Every group's size, and how often it is answered rightly."""
    before, after = _test(trial.before).correct, _test(trial.after).correct
    everybody = [groups.of == group for group in range(len(groups))]
    columns: dict[str, list[float | int | str | None]] = {
        "group": [*groups.words],
        "samples": [int(inside.sum()) for inside in everybody],
        "original": [before[inside].mean().item() for inside in everybody],
        "unlearned": [after[inside].mean().item() for inside in everybody],
    }
    return Exhibit("table", f"Accuracy by group of {name}", columns)
