"""What unlearning cost, and how much faster it was than retraining."""

from collections.abc import Iterator
from dataclasses import dataclass

from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial


@dataclass(frozen=True)
class Cost(Metric):
    """Seconds, optimizer steps, and the ratio to retraining on the same machine."""

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        seconds = trial.outcome.seconds
        if seconds is None:
            raise MissingInput("somebody else unlearned this model and left no time")
        yield Measurement("seconds to unlearn", seconds, "lower", n=1)
        steps = len(trial.outcome.traces.get("loss", ()))
        if steps:
            yield Measurement("optimizer steps", float(steps), "lower", n=1)
        yield Measurement(
            "speed relative to retraining",
            trial.compared.seconds / max(seconds, 1e-9),
            "higher",
            n=len(trial.compared),
            note="one timing on this machine; retraining is the mean over the references",
        )
