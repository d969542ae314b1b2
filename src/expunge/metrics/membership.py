"""Can an attack tell that the forgotten samples were trained on?

What counts is the attack's AUC against that of the references, not against one half: some
samples are easier than others without any model having seen them. Below one half is no safety
either: samples pushed too far stand out the other way.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from expunge.algebra.differences import auc_difference
from expunge.algebra.operating import tpr_at
from expunge.algebra.statistics import auc, roc
from expunge.attack import Attack
from expunge.ensembles import Shadows
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Snapshot

Pair = tuple[Tensor, Tensor]
"""Scores of members, and of non-members."""

Read = Callable[[Snapshot], Pair]

Curve = tuple[list[float], list[float]]

RATE = 0.01
"""Of non-members that may be named too, where an attack judges single samples."""

_MOST = 200  # points: no eye can tell more apart


@dataclass(frozen=True)
class Membership(Metric):
    """AUC of a membership attack on the forget set, against the references'."""

    attack: Attack
    margin: float = 0.05  # how far from the references' AUC would not matter

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        kind = trial.outcome.task.kind
        if kind not in self.attack.tasks:
            raise MissingInput(
                f"the attack {_spoken(self.attack)} makes no sense for a {kind} task"
            )
        read = _once(self.attack)
        for whose, about in trial.requested():
            yield self._tried(about, self.label + whose, read)
        if self.attack.single:
            name = f"TPR at {RATE:.0%} FPR, {_spoken(self.attack)}"
            yield Measurement.attempt(name, lambda: _caught(trial, name, read))

    def _tried(self, trial: Trial, name: str, read: Read) -> Measurement:
        return Measurement.attempt(name, lambda: self._one(trial, name, read))

    def _one(self, trial: Trial, name: str, read: Read) -> Measurement:
        comparison, control, selftest = trial.contrasts(read, auc_difference, self.margin)
        after, before = read(trial.after), read(trial.before)
        theirs = [read(snapshot) for snapshot in trial.snapshots]
        found = auc(*after)
        return Measurement(
            name,
            found.value,
            "match",
            (found.low, found.high),
            n=len(after[0]),
            original=auc(*before),
            target=tuple(auc(*scores).value for scores in theirs),
            comparison=comparison,
            control=control,
            selftest=selftest,
            note=f"{len(after[0])} members against {len(after[1])} {self.attack.others}"
            + (", of the same classes" if trial.after.test.kind == "classification" else ""),
            exhibit=_curves(_spoken(self.attack), before, after, theirs),
        )

    @property
    def label(self) -> str:
        return f"membership AUC, {_spoken(self.attack)}"


def _once(attack: Attack) -> Read:
    """Ask an attack about every snapshot once, however often it is read."""
    known: dict[int, tuple[Snapshot, Pair]] = {}

    def read(snapshot: Snapshot) -> Pair:
        if id(snapshot) not in known:
            scores = attack.score(snapshot)
            known[id(snapshot)] = snapshot, (scores.member, scores.nonmember)
        return known[id(snapshot)][1]

    return read


def _caught(trial: Trial, name: str, read: Read) -> Measurement:
    """How many members are named by an attack that may suspect hardly anybody else."""
    member, other = read(trial.after)
    found = tpr_at(member, other, RATE)
    if found.word != "ok":
        note = (
            f"{len(other)} non-members support no rate below {found.at:.1%}, "
            f"at which {found.tpr.value:.1%} of the members are named"
        )
        return Measurement(name, None, n=len(member), status="insufficient", note=note)
    theirs = [tpr_at(*read(seen), RATE, draws=1) for seen in trial.snapshots]
    return Measurement(
        name,
        found.tpr.value,
        "match",
        (found.tpr.low, found.tpr.high),
        n=len(member),
        original=tpr_at(*read(trial.before), RATE).tpr,
        target=tuple(each.tpr.value for each in theirs),
        note=f"{found.fpr.value:.1%} of non-members are named too, at most {found.fpr.high:.1%}",
    )


def _spoken(attack: Attack) -> str:
    """``threshold (loss)``: the attack's name and its settings, for a reader."""
    told = [value for value in vars(attack).values() if not isinstance(value, Shadows)]
    settings = ", ".join(str(value) for value in told)
    name = type(attack).__name__.lower()
    return f"{name} ({settings})" if settings else name


def _curves(attack: str, before: Pair, after: Pair, references: list[Pair]) -> Exhibit:
    curves = {"original": roc(*before), "unlearned": roc(*after)}
    if references:
        curves["retrained"] = _averaged([roc(*scores) for scores in references])
    columns: dict[str, list[float | str]] = {"fpr": [], "tpr": [], "model": []}
    for name, curve in curves.items():
        fpr, tpr = _thinned(*curve)
        columns["fpr"] += fpr
        columns["tpr"] += tpr
        columns["model"] += [name] * len(fpr)
    title = f"How well {attack} tells forgotten samples from unseen ones"
    return Exhibit("curve", title, columns, x="fpr", y="tpr", by="model")


def _averaged(curves: list[Curve]) -> Curve:
    """The mean height of several curves: scores of different models must not be pooled."""
    few = [10 ** (k / 20 - 3) for k in range(60)]  # where false alarms are rare, more closely
    grid = sorted({0.0, *few, *(i / _MOST for i in range(_MOST + 1))})
    heights = [[tpr[bisect_right(fpr, x) - 1] for x in grid] for fpr, tpr in curves]
    return grid, [sum(column) / len(curves) for column in zip(*heights, strict=True)]


def _thinned(x: list[float], y: list[float]) -> Curve:
    """No more points than an eye can tell apart, also of those at the start, on a log axis."""
    step = -(-len(x) // _MOST)
    first = (round(len(x) ** (k / _MOST)) - 1 for k in range(_MOST))
    chosen = sorted({*range(0, len(x), step), *first, len(x) - 1})
    return [x[i] for i in chosen], [y[i] for i in chosen]
