"""Can an attack tell that the forgotten samples were trained on?

What counts is the attack's AUC against that of the references, not against one half: some
samples are easier than others without any model having seen them. Below one half is no safety
either: samples pushed too far stand out the other way.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from expunge.algebra.statistics import auc, auc_difference, roc
from expunge.attack import Attack, Scores
from expunge.errors import MissingInput
from expunge.metric import Comparison, Exhibit, Measurement, Metric, Trial


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
        after, before = self.attack.score(trial.after), self.attack.score(trial.before)
        theirs = [self.attack.score(snapshot) for snapshot in trial.snapshots]
        found = auc(after.member, after.nonmember)
        yield Measurement(
            f"membership AUC, {_spoken(self.attack)}",
            found.value,
            "match",
            (found.low, found.high),
            n=len(after.member),
            original=auc(before.member, before.nonmember),
            target=tuple(auc(s.member, s.nonmember).value for s in theirs),
            comparison=self._compare(after, theirs),
            control=self._compare(before, theirs),
            selftest=self._compare(theirs[-1], theirs[:-1]) if theirs else None,
            note=f"{len(after.member)} members against {len(after.nonmember)} samples of the "
            f"test set, of the same classes",
            exhibit=_curves(_spoken(self.attack), before, after, theirs),
        )

    def _compare(self, scores: Scores, references: list[Scores]) -> Comparison | None:
        if not references:
            return None
        pairs = [(s.member, s.nonmember) for s in references]
        found = auc_difference((scores.member, scores.nonmember), pairs)
        return Comparison.of(found, self.margin)


def _spoken(attack: Attack) -> str:
    """``threshold (loss)``: the attack's name and its settings, for a reader."""
    settings = ", ".join(str(value) for value in vars(attack).values())
    name = type(attack).__name__.lower()
    return f"{name} ({settings})" if settings else name


def _curves(attack: str, before: Scores, after: Scores, references: list[Scores]) -> Exhibit:
    curves = {"original": [before], "unlearned": [after]}
    if references:
        curves["retrained"] = references
    columns: dict[str, list[float | str]] = {"fpr": [], "tpr": [], "model": []}
    for name, scores in curves.items():
        member = torch.cat([s.member for s in scores])
        nonmember = torch.cat([s.nonmember for s in scores])
        fpr, tpr = _thinned(*roc(member, nonmember))
        columns["fpr"] += fpr
        columns["tpr"] += tpr
        columns["model"] += [name] * len(fpr)
    title = f"How well {attack} tells forgotten samples from unseen ones"
    return Exhibit("curve", title, columns, x="fpr", y="tpr", by="model")


def _thinned(x: list[float], y: list[float], most: int = 200) -> tuple[list[float], list[float]]:
    """No more points than an eye can tell apart; the first and the last stay."""
    step = -(-len(x) // most)
    chosen = sorted({*range(0, len(x), step), len(x) - 1})
    return [x[i] for i in chosen], [y[i] for i in chosen]
