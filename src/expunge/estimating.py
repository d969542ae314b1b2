"""Say what an audit will cost, before it is begun: minutes, and models to train.

A little of the real work is done with the user's own recipe, method and metrics, on this machine,
and thrown away; the rest is arithmetic. See `expunge.pacing` for how work is timed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from expunge.auditing import audit
from expunge.ensembles import Reference, References
from expunge.errors import ExpungeError
from expunge.evidence import Tier
from expunge.method import Method
from expunge.metric import Metric
from expunge.observing import device_of, snapshot
from expunge.outcome import Outcome
from expunge.pacing import BUDGET, Pace, clocked, smaller, training
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.retraining import kept
from expunge.seeding import seeded
from expunge.splitting import Split
from expunge.tasks import Task
from expunge.tiers import REFERENCES, suite
from expunge.unlearning import unlearn

_FEW, _MORE = 600, 1800  # samples that unlearning and measuring are tried on
_STAND_INS = 2  # untrained models that are measured as if they were references

_SHORT: Mapping[str, Mapping[str, int]] = {
    "Relearning": {"steps": 20, "runs": 2},
    "Attribution": {"steps": 8},
    "Reattack": {"steps": 40},
}
"""Metrics that train or look for long: settings by which they take proportionally less."""

_TAKEN = {"Relearning": 0.25}
"""The share of its steps that such a metric is expected to take, where it may stop early."""


@dataclass(frozen=True, slots=True)
class Item:
    """One part of an audit, and what it will cost."""

    what: str
    models: int  # that must be there
    kept: int  # of which so many are in the cache already
    seconds: float | None  # for what is still to be done; None: it could not be tried
    why: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an audit of a tier will cost on this machine."""

    tier: Tier
    items: tuple[Item, ...]

    @property
    def seconds(self) -> float:
        """All of it, as far as it is known."""
        return sum(item.seconds or 0.0 for item in self.items)

    @property
    def models(self) -> int:
        """How many models must be trained."""
        return sum(item.models - item.kept for item in self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What is to be audited, and how. It has as many fields as an audit has ingredients."""

    model: nn.Module
    split: Split
    task: Task
    recipe: Recipe | None = None  # None: nothing can be retrained
    method: Method | None = None  # None: somebody else unlearned, and it is done
    metrics: tuple[Metric, ...] | None = None  # None: those of the tier
    seeds: int | tuple[int, ...] | None = None  # of references; None: as many as the tier has
    cache: Path | None = None  # None: nothing is kept
    budget: float = BUDGET  # seconds of timing for each kind of work


def estimate(work: Work, tier: Tier = "standard", *, progress: Progress = quiet) -> Estimate:
    """Time a little of everything that an audit of this tier does, and add it up."""
    items, steps = (
        [],
        {"unlearning": _unlearning, "references": _references, "measurements": _measuring},
    )
    for done, (name, step) in enumerate(steps.items()):
        progress("estimate", done, len(steps))
        try:
            items += step(work, tier)
        except ExpungeError as why:  # what few samples do not bear, all of them may
            items.append(Item(name, 0, 0, None, f"not known: on few samples, {why.fact}"))
    progress("estimate", len(steps), len(steps))
    return Estimate(tier, tuple(items))


def _unlearning(work: Work, tier: Tier) -> list[Item]:
    del tier
    if work.method is None:
        return []
    method = work.method

    def forget(split: Split) -> float:
        return clocked(lambda: unlearn(work.model, split, method, task=work.task))

    seconds = _whole(work.split, forget)
    return [Item(f"unlearning by {method.name}", 0, 0, seconds, "what was asked for")]


def _references(work: Work, tier: Tier) -> list[Item]:
    count = _count(work, tier)
    if work.recipe is None or not count or not len(work.split.forget):
        return []
    held = kept(work.split, work.recipe, task=work.task, seeds=_seeds(work, tier), cache=work.cache)
    pace = training(work.recipe, work.split.retain, work.budget) if held < count else Pace(0.0, 0.0)
    seconds = (count - held) * (pace.seconds(len(work.split.retain)) + _observed(work))
    why = "retrained without the forget set, to compare with"
    return [Item("references", count, held, seconds, why)]


def _measuring(work: Work, tier: Tier) -> list[Item]:
    """Every metric, of the two models and of stand-ins for references, on few samples and more."""
    build = None if work.recipe is None else work.recipe.build
    metrics = suite(work.split.targets, build, tier) if work.metrics is None else work.metrics
    count = 0 if work.recipe is None else _count(work, tier)
    quick = [_shortened(metric) for metric in metrics]
    plain = [metric for metric, times in quick if times == 1]
    seconds = _whole(work.split, lambda part: _asked(work, part, plain))
    few = smaller(work.split, min(1.0, _FEW / _size(work.split)))
    nothing = _asked(work, few, ())
    for metric, times in quick:
        if times > 1:
            seconds += max(0.0, _asked(work, few, [metric]) - nothing) * times
    models = (2 + count) / (2 + _STAND_INS)
    return [Item("measurements", 0, 0, seconds * models, f"{len(metrics)} metrics")]


def _asked(work: Work, split: Split, metrics: Sequence[Metric]) -> float:
    """How long these metrics take on a split, beside stand-ins for references."""
    model = work.model
    if work.recipe is not None:
        with seeded(0):
            model = work.recipe.build().to(device_of(model)).eval()

    def measure() -> None:
        others = tuple(
            Reference(lambda: model, snapshot(model, split, work.task), seed, 1.0, "")
            for seed in range(_STAND_INS)
        )
        outcome = Outcome.of(work.model, work.model, split, task=work.task)
        audit(outcome, metrics, references=References(others) if len(split.forget) else None)

    return clocked(measure)


def _observed(work: Work) -> float:
    """How long it takes to ask a model about everything."""
    return _whole(work.split, lambda part: clocked(lambda: snapshot(work.model, part, work.task)))


def _whole(split: Split, spent: Any) -> float:
    """Seconds on a whole split, from two small shares of it."""
    size = _size(split)
    few, more = (min(1.0, many / size) for many in (_FEW, _MORE))
    spent(smaller(split, few))  # a warm-up
    long = spent(smaller(split, more))
    if more == 1.0:
        return float(long)
    short = spent(smaller(split, few))
    return float(long + max(0.0, long - short) / (more - few) * (1 - more))


def _shortened(metric: Metric) -> tuple[Metric, float]:
    """A metric that takes less, and how many times as long the given one takes."""
    change: dict[str, Any] = {}
    times = 1.0
    for name, value in _SHORT.get(type(metric).__name__, {}).items():
        if getattr(metric, name) > value:
            change[name] = value
            times *= getattr(metric, name) / value
    return replace(metric, **change), times * _TAKEN.get(type(metric).__name__, 1.0)


def _size(split: Split) -> int:
    return len(split.forget) + len(split.retain) + len(split.test)


def _seeds(work: Work, tier: Tier) -> int | tuple[int, ...]:
    return REFERENCES[tier] if work.seeds is None else work.seeds


def _count(work: Work, tier: Tier) -> int:
    seeds = _seeds(work, tier)
    return seeds if isinstance(seeds, int) else len(seeds)
