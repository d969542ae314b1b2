"""AUS, the adaptive unlearning score: utility kept, divided by forgetting missed.

Cotogni et al., "DUCK: Distance-based Unlearning via Centroid Kinematics", 2023. For classes,
utility is test accuracy on the kept classes and what is missed is test accuracy on the removed
ones. For samples, utility is test accuracy and what is missed is the distance between it and
the accuracy on the forget set. The score exceeds one when accuracy improves, and is not clipped.
It compares with the original and not with retraining, and a mask over one logit fools it: read
it as a summary beside the evidence, never as the evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import copysign, sqrt
from typing import ClassVar

from scipy import stats
from torch import Tensor

from expunge.algebra.statistics import LEVEL, Interval, mean_variance
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Snapshot
from expunge.tasks import Kind


@dataclass(frozen=True)
class Aus(Metric):
    """Utility kept divided by forgetting missed. One is ideal, and a logit mask reaches it."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        by_class = _by_class(trial)
        found = _scored(trial.before, trial.after, by_class=by_class)
        yield Measurement(
            "AUS",
            found.value,
            "higher",
            (found.low, found.high),
            n=len(_sides(trial.after, by_class=by_class)[0]),
            original=_scored(trial.before, trial.before, by_class=by_class),
            target=trial.targets(lambda s: _score(trial.before, s, by_class=by_class)),
            note="a mask over logits would score as well as retraining",
        )


def aus(original: float, kept: float, missed: float) -> float:
    """The score from the original's utility, the utility kept, and the forgetting missed."""
    return (1 - (original - kept)) / (1 + abs(missed))


def _scored(before: Snapshot, after: Snapshot, *, by_class: bool) -> Interval:
    value = _score(before, after, by_class=by_class)
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    half = z * _error(before, after, by_class=by_class)
    return Interval(value, value - half, value + half)


def _score(before: Snapshot, after: Snapshot, *, by_class: bool) -> float:
    utility, forgotten = _sides(after, by_class=by_class)
    kept = utility.mean().item()
    missed = forgotten.mean().item() - (0.0 if by_class else kept)
    return aus(_sides(before, by_class=by_class)[0].mean().item(), kept, missed)


def _by_class(trial: Trial) -> bool:
    kind = trial.outcome.split.kind
    if kind in {"samples", "classes"}:
        return kind == "classes"
    raise MissingInput(f"AUS is defined for samples or for classes, not for a request of {kind}")


def _sides(snapshot: Snapshot, *, by_class: bool) -> tuple[Tensor, Tensor]:
    """Hits that should stay, and hits that tell what was missed."""
    if by_class:
        return snapshot.test_kept.correct, snapshot.test_removed.correct
    return snapshot.test.correct, snapshot.forget.correct


def _error(before: Snapshot, after: Snapshot, *, by_class: bool) -> float:
    """Standard error by the delta method: what each sample does to the score.

    A hit on utility raises the fraction from above and, for samples, moves what it is compared
    with below; a hit on what was to be forgotten moves only what is below.
    """
    utility, forgotten = _sides(after, by_class=by_class)
    originally, _ = _sides(before, by_class=by_class)
    kept = utility.mean().item()
    missed = forgotten.mean().item() - (0.0 if by_class else kept)
    top, bottom = 1 - (originally.mean().item() - kept), 1 + abs(missed)
    slope = copysign(top / bottom**2, missed)
    on_utility = (utility - originally) / bottom + (0.0 if by_class else slope) * utility
    return sqrt(mean_variance(on_utility) + slope**2 * _rate_variance(forgotten))


def _rate_variance(hits: Tensor) -> float:
    """Agresti and Coull: with two imagined hits and two misses it is never zero."""
    n = len(hits) + 4
    rate = (hits.sum().item() + 2) / n
    return rate * (1 - rate) / n
