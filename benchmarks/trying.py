"""One method as it is: what it did, what it took, and what metrics say of it beside retraining."""

from dataclasses import dataclass, replace
from typing import Any

from meter import clocked
from staging import Stage
from table import Cell, Row

import expunge
from expunge.attacks.threshold import Threshold
from expunge.metric import Metric, Trial
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.aus import Aus
from expunge.metrics.fairness import Fairness
from expunge.metrics.feature_space import FeatureSpace
from expunge.metrics.forget_flow import ForgetFlow
from expunge.metrics.leakage import Leakage
from expunge.metrics.loss import Loss
from expunge.metrics.membership import Membership
from expunge.metrics.probe import Probe
from expunge.metrics.reattack import Reattack
from expunge.metrics.selectivity import Selectivity
from expunge.observing import Snapshot, snapshot

METRICS: tuple[Metric, ...] = (
    Accuracy(),
    Aus(),
    Loss(),
    Membership(Threshold("loss")),
    Probe(),
    ForgetFlow(),
    FeatureSpace(),
)


@dataclass(frozen=True)
class Solo:
    """A stage, and what is asked of every method on it."""

    stage: Stage
    before: Snapshot
    metrics: tuple[Metric, ...]

    @classmethod
    def on(cls, stage: Stage, cell: Cell) -> "Solo":
        """Ask the original once."""
        seen = snapshot(stage.original, stage.looked, stage.problem.task, features=True)
        return cls(stage, seen, _metrics(stage, cell))

    def tried(self, row: Row, seed: int) -> dict[str, Any]:
        """Unlearn, and measure."""
        stage, task = self.stage, self.stage.problem.task
        method = stage.method(row)
        outcome, seconds = clocked(
            lambda: expunge.unlearn(stage.original, stage.split, method, task=task, seed=seed)
        )
        after = snapshot(outcome.after, stage.looked, task, features=True)
        looked = replace(outcome, split=stage.looked)
        trial = Trial(looked, self.before, after, stage.references)
        return {
            "method": method.name,
            "settings": method.describe(),
            "seconds": seconds,
            "wall_seconds": outcome.seconds,
            "steps": len(outcome.traces.get("loss", ())),
            "retraining_seconds": stage.retraining,
            "reference_seconds": stage.references.seconds if len(stage.references) else None,
            "notes": list(outcome.notes),
            "traces": {k: list(v) for k, v in outcome.traces.items() if k != "loss"},
            "measurements": {m.name: m for each in self.metrics for m in each.measure(trial)},
        }


def _metrics(stage: Stage, cell: Cell) -> tuple[Metric, ...]:
    """What a row is measured by: attributes leave no one out, and have evidence of their own."""
    if not cell.attributes:
        return METRICS
    build = stage.problem.recipe.build
    again = (Reattack(build=build),) if cell.look.get("reattack") else ()
    layers = None if cell.look.get("layers") else ()
    return Accuracy(), Fairness(), Leakage(layers=layers, build=build), Selectivity(), *again
