"""Say what an audit will cost, before it is begun: minutes, and models to train.

A little of the real work is done with the user's own recipe, method and metrics, on this machine,
and thrown away; the rest is arithmetic. See `expunge.pacing` for how work is timed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from expunge.auditing import audit
from expunge.ensembles import Reference, References
from expunge.ensembling import share
from expunge.errors import ExpungeError
from expunge.evidence import Tier
from expunge.method import Method
from expunge.metric import Metric
from expunge.observing import device_of, snapshot
from expunge.outcome import Outcome
from expunge.pacing import BUDGET, clocked, smaller, threads, training
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.retraining import kept
from expunge.seeding import seeded
from expunge.shadowing import held
from expunge.splitting import Split
from expunge.spreading import sendable, spread_seconds
from expunge.tasks import Task
from expunge.tiers import PAIRS, REFERENCES, REPEATS, RETRAINED, suite
from expunge.unlearning import unlearn

if TYPE_CHECKING:
    from expunge.playing import Role

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
    canaries: int = 0  # of a rehearsal; 0: there is none
    budget: float = BUDGET  # seconds of timing for each kind of work


def estimate(work: Work, tier: Tier = "standard", *, progress: Progress = quiet) -> Estimate:
    """Time a little of everything that an audit of this tier does, and add it up."""
    trial = _Trial(work, tier)
    steps: dict[str, Callable[[], Item | None]] = {
        "unlearning": trial.unlearning,
        "references": trial.references,
        "shadow models": trial.shadows,
        "repeats": trial.repeats,
        "rehearsal": trial.rehearsal,
        "measurements": trial.measuring,
    }
    items: list[Item] = []
    for done, (name, step) in enumerate(steps.items()):
        progress("estimate", done, len(steps))
        try:
            found = step()
        except ExpungeError as why:  # what few samples do not bear, all of them may
            found = Item(name, 0, 0, None, f"not known: on few samples, {why.fact}")
        items += [] if found is None else [found]
    progress("estimate", len(steps), len(steps))
    return Estimate(tier, tuple(items))


@dataclass(frozen=True, eq=False)
class _Trial:
    """Tries the parts of an audit on a small scale; what several of them need, once."""

    work: Work
    tier: Tier

    def unlearning(self) -> Item | None:
        if self.work.method is None:
            return None
        name = f"unlearning by {self.work.method.name}"
        return Item(name, 0, 0, self._forgotten, "what was asked for")

    def references(self) -> Item | None:
        work, seeds = self.work, self._seeds
        count = seeds if isinstance(seeds, int) else len(seeds)
        if work.recipe is None or not count or not len(work.split.forget):
            return None
        there = kept(work.split, work.recipe, task=work.task, seeds=seeds, cache=work.cache)
        seconds = 0.0
        if there < count:
            pace = training(work.recipe, work.split.retain, work.budget)
            seconds = (count - there) * (pace.seconds(len(work.split.retain)) + self._observed)
        why = "retrained without the forget set, to compare with"
        return Item("references", count, there, seconds, why)

    def shadows(self) -> Item | None:
        """Models that are trained in stacks, by workers or alone, and then unlearned."""
        tier, work = self.tier, self.work
        roles: dict[Role, int] = {
            "shadow": 2 * PAIRS[tier],
            "retrained": RETRAINED[tier],
            "mirror": int(tier == "strict"),
        }
        count = sum(roles.values()) if self._repeatable and PAIRS[tier] else 0
        if work.recipe is None or not count:
            return None
        outcome = Outcome.of(work.model, work.model, work.split, task=work.task)
        there = 0 if work.cache is None else held(outcome, work.recipe, work.cache, roles)
        why = "each trained on some of the forgotten and unseen samples, and unlearned"
        unlearned, sent = count - roles["retrained"], (work.method, work.task)
        forgetting = self._spread(unlearned, self._forgotten, self._one_forgotten, sent)
        seconds = self._ensemble(work.recipe, count - there) + forgetting
        return Item("shadow models", count, there, seconds, why)

    def repeats(self) -> Item | None:
        count = REPEATS[self.tier] if self._repeatable else 0
        if not count:
            return None
        each = self._original + self._forgotten + self._observed
        return Item("repeats", count, 0, count * each, "the same unlearning of other originals")

    def rehearsal(self) -> Item | None:
        work = self.work
        if work.recipe is None or work.method is None or not work.canaries:
            return None
        why = f"the whole pipeline with {work.canaries} canaries"
        return Item("rehearsal", 1, 0, self._original + self._forgotten, why)

    def measuring(self) -> Item:
        """Every metric, of two models and of stand-ins for references, on few samples and more."""
        work, seeds = self.work, self._seeds
        metrics = work.metrics
        if metrics is None:
            build = None if work.recipe is None else work.recipe.build
            metrics = suite(work.split.targets, build, self.tier)
        quick = [_shortened(metric) for metric in metrics]
        plain = [metric for metric, times in quick if times == 1]
        seconds = self._whole(lambda part: self._asked(part, plain))
        few = smaller(work.split, min(1.0, _FEW / self._size))
        nothing = self._asked(few, ())
        for metric, times in quick:
            if times != 1:
                seconds += max(0.0, self._asked(few, [metric]) - nothing) * times
        count = 0 if work.recipe is None else seeds if isinstance(seeds, int) else len(seeds)
        models = (2 + count) / (2 + _STAND_INS)
        return Item("measurements", 0, 0, seconds * models, f"{len(metrics)} metrics")

    def _ensemble(self, recipe: Recipe, count: int) -> float:
        """Seconds of training so many models: as stacks, by workers, or one by one."""
        if count == 0:
            return 0.0
        saved, asked = share(recipe, [self.work.split.retain] * count), count * self._observed
        if saved < 1.0:
            return count * saved * self._original + asked
        return self._spread(count, self._original, self._one_original, recipe) + asked

    def _spread(self, count: int, alone: float, anew: Callable[[], float], sent: object) -> float:
        """Seconds of so much work, by workers where that pays; each of them has one thread."""
        slower = anew if torch.get_num_threads() > 1 else lambda: alone
        with threads(1):
            return spread_seconds(count, alone, slower) if sendable(sent) else count * alone

    @property
    def _repeatable(self) -> bool:
        """Whether the way in which samples were forgotten can be gone again."""
        work = self.work
        known = work.recipe is not None and work.method is not None
        return known and work.split.kind == "samples"

    @cached_property
    def _original(self) -> float:
        """Seconds of training on everybody."""
        return self._one_original()

    def _one_original(self) -> float:
        work = self.work
        if work.recipe is None:
            return 0.0
        pace = training(work.recipe, work.split.retain, work.budget)
        return pace.seconds(len(work.split.retain) + len(work.split.forget))

    @cached_property
    def _forgotten(self) -> float:
        """Seconds of unlearning."""
        return self._one_forgotten()

    def _one_forgotten(self) -> float:
        work, method = self.work, self.work.method
        if method is None:
            return 0.0
        return self._whole(
            lambda part: clocked(lambda: unlearn(work.model, part, method, task=work.task))
        )

    @cached_property
    def _observed(self) -> float:
        """How long it takes to ask a model about everything."""
        work = self.work
        return self._whole(lambda part: clocked(lambda: snapshot(work.model, part, work.task)))

    def _asked(self, split: Split, metrics: Sequence[Metric]) -> float:
        """How long these metrics take on a split, beside stand-ins for references."""
        work, model = self.work, self.work.model
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

    def _whole(self, spent: Callable[[Split], float]) -> float:
        """Seconds on a whole split, from two small shares of it."""
        split = self.work.split
        few, more = (min(1.0, many / self._size) for many in (_FEW, _MORE))
        short = spent(smaller(split, few))
        long = spent(smaller(split, more))
        if more == 1.0:
            return long
        if short < self.work.budget:  # the first was a warm-up
            short = spent(smaller(split, few))
        return long + max(0.0, long - short) / (more - few) * (1 - more)

    @property
    def _size(self) -> int:
        split = self.work.split
        return len(split.forget) + len(split.retain) + len(split.test)

    @property
    def _seeds(self) -> int | tuple[int, ...]:
        return REFERENCES[self.tier] if self.work.seeds is None else self.work.seeds


def _shortened(metric: Metric) -> tuple[Metric, float]:
    """A metric that takes less, and how many times as long the given one takes."""
    change: dict[str, Any] = {}
    times = 1.0
    for name, value in _SHORT.get(type(metric).__name__, {}).items():
        if getattr(metric, name) > value:
            change[name] = value
            times *= getattr(metric, name) / value
    return replace(metric, **change), times * _TAKEN.get(type(metric).__name__, 1.0)
