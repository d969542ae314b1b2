"""Whether the model still knows how sure it may be: unlearning often spoils that first.

On the test set, and where classes were removed on that of the kept ones: the expected calibration
error, Brier's score, and the log-loss, each beside the original's and the retrained models'. The
error is above zero for few samples whatever the model does; read it beside the references'.

The snapshots hold what is needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from expunge.algebra.calibration import Reliability, brier, calibration_error, reliability
from expunge.algebra.statistics import Interval
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind


@dataclass(frozen=True)
class Calibration(Metric):
    """How well the model's confidence fits its accuracy on unseen samples of what stays."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    bins: int = 15  # of equal width, for the error
    margin: float = 0.05  # how far above the references' score or loss would be no loss of use

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        where = ", kept classes" if trial.after.removed else ""
        found = self._error(trial.after)
        yield Measurement(
            f"calibration error{where}",
            found.value,
            "lower",
            (found.low, found.high),
            n=len(_asked(trial.after)),
            original=self._error(trial.before),
            target=trial.targets(lambda seen: self._reliability([seen]).error),
            note=f"{self.bins} bins of equal width",
            exhibit=self._curves(trial),
        )
        for name, read in (("Brier score", _briers), ("log-loss", _losses)):
            yield trial.averaged(name + where, "lower", read, self.margin)

    def _error(self, seen: Snapshot) -> Interval:
        asked = _asked(seen)
        return calibration_error(asked.probabilities, asked.labels, self.bins)

    def _reliability(self, models: Sequence[Snapshot]) -> Reliability:
        """How right the answers of all these models are, by how sure."""
        asked = [_asked(seen) for seen in models]
        p, labels = (
            torch.cat([getattr(each, what) for each in asked])
            for what in ("probabilities", "labels")
        )
        return reliability(p, labels, self.bins)

    def _curves(self, trial: Trial) -> Exhibit:
        """How right answers are, by how sure; the references' are taken together."""
        models: dict[str, Sequence[Snapshot]] = {
            "original": [trial.before], "unlearned": [trial.after]
        }  # fmt: skip
        if trial.snapshots:
            models["retrained"] = trial.snapshots
        columns: dict[str, list[Any]] = {"confidence": [], "accuracy": [], "model": []}
        for name, snapshots in models.items():
            found = self._reliability(snapshots)
            columns["confidence"] += found.confidence.tolist()
            columns["accuracy"] += found.accuracy.tolist()
            columns["model"] += [name] * len(found.share)
        title = "How often answers are right, by how sure they are"
        return Exhibit("curve", title, columns, x="confidence", y="accuracy", by="model")


def _asked(seen: Snapshot) -> Observation:
    """Unseen samples of what stays, in the order of their ids."""
    return (seen.test_kept if seen.removed else seen.test).ordered


def _briers(seen: Snapshot) -> Tensor:
    asked = _asked(seen)
    return brier(asked.probabilities, asked.labels)


def _losses(seen: Snapshot) -> Tensor:
    return _asked(seen).losses
