"""Try the whole audit on models of which is known what it must say: bundled data, no project.

One class is removed: a retrained model must be equivalent, the untouched original and masks over
its logits residual, noise and a random head degraded. And 300 records under wrong labels, which a
model can only know by heart, are removed from 32 small models: pooled, these are enough to *show*
that retrained models are equivalent, within a margin that is declared here.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import nn

from expunge.algebra.differences import group_difference
from expunge.algebra.statistics import auc, mean_interval
from expunge.attacks.threshold import Threshold
from expunge.auditing import audit
from expunge.ensembles import Reference, References
from expunge.ensembling import fit_many
from expunge.faking import fakes
from expunge.judging import Verdict, judge
from expunge.metric import Comparison, Goal, Measurement, Metric, Trial
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.loss import Loss
from expunge.metrics.probe import Probe
from expunge.metrics.relearning import Relearning
from expunge.metrics.silenced import Silenced
from expunge.observing import Snapshot, snapshot
from expunge.outcome import Outcome
from expunge.planting import joined, mislabelled, taken
from expunge.problems.digits import digits
from expunge.problems.problem import Problem
from expunge.progress import Progress, quiet
from expunge.request import Classes, Request, Samples
from expunge.retraining import retrain
from expunge.seeding import stream
from expunge.splitting import Part, Split, split
from expunge.tasks import Kind

Expected = Literal["equivalent", "residual", "degraded"]

MARGIN = 0.05
"""How far from the retrained models' mean AUC would not matter, where models are pooled."""

CANARIES, MODELS = 300, 32
_CLASS, _REFERENCES, _RUNS = 3, 5, 3


@dataclass(frozen=True, slots=True)
class Control:
    """A model of which is known what an audit must say, and what it said."""

    removed: str
    model: str
    expected: Expected
    verdict: Verdict
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the audit said what it must."""
        if self.expected == "degraded":
            return self.verdict.degraded
        return self.verdict.word == self.expected and not self.verdict.degraded


def selftest(*, seed: int = 0, progress: Progress = quiet) -> tuple[Control, ...]:
    """Audit every control; under two minutes on two cores."""
    found, total = [], 8
    for control in (*_one_class(seed, progress), *_canaries(seed, progress)):
        found.append(control)
        progress("audit a control", len(found), total)
    return tuple(found)


def _one_class(seed: int, progress: Progress) -> Iterator[Control]:
    problem = digits()
    model = problem.trained(seed)
    parts = split(problem.train, Request(Classes((_CLASS,)), id="class"), test=problem.test)
    numbers = range(seed + 1, seed + _REFERENCES + 2)
    members = retrain(
        parts, problem.recipe, task=problem.task, seeds=numbers, progress=progress
    ).members
    references, held_out = References(members[:-1]), members[-1].load()
    candidates: dict[str, tuple[nn.Module, Expected]] = {
        "retrained": (held_out, "equivalent"),
        "original": (model, "residual"),
    }
    for name, fake in fakes(model, parts, problem.task, seed).items():
        candidates[name] = (fake, "residual" if "mask" in name else "degraded")
    metrics = (Accuracy(), Loss(), Probe(), Silenced(), Relearning(runs=_RUNS))
    for name, (candidate, expected) in candidates.items():
        started = time.perf_counter()
        outcome = Outcome.of(model, candidate, parts, task=problem.task)
        verdict = judge(audit(outcome, metrics, references=references, seed=seed))
        yield Control("one class", name, expected, verdict, time.perf_counter() - started)


def _canaries(seed: int, progress: Progress) -> Iterator[Control]:
    problem = digits()
    parts = _planted(problem, seed)
    models = _trained(problem, parts, seed, progress)
    seen = {
        name: [snapshot(model, parts, problem.task) for model in each]
        for name, each in models.items()
    }
    references = References(
        tuple(
            Reference(partial(_itself, model), answers, place, 0.0, "")
            for place, (model, answers) in enumerate(
                zip(models["reference"], seen["reference"], strict=True)
            )
        )
    )
    expectations: dict[str, Expected] = {"retrained": "equivalent", "original": "residual"}
    for name, expected in expectations.items():
        started = time.perf_counter()
        outcome = Outcome.of(models["original"][0], models[name][0], parts, task=problem.task)
        pooled = _Pooled(tuple(seen["original"]), tuple(seen[name]))
        verdict = judge(audit(outcome, [pooled], references=references, seed=seed))
        spent = time.perf_counter() - started
        yield Control(f"{CANARIES} wrong labels, {MODELS} models", name, expected, verdict, spent)


def _itself(model: nn.Module) -> nn.Module:
    return model


def _planted(problem: Problem, seed: int) -> Split:
    """Digits, 300 more of them under wrong labels, and as many that nobody trains on."""
    rest = joined(problem.validation, problem.test)
    inside, unseen = (
        mislabelled(taken(rest, torch.arange(first, first + CANARIES)), seed)
        for first in (0, CANARIES)
    )
    train = joined(problem.train, inside)
    gone = Samples(tuple(range(len(problem.train), len(train))))
    return split(train, Request(gone, id="canaries"), test=unseen)


def _trained(
    problem: Problem, parts: Split, seed: int, progress: Progress
) -> dict[str, list[nn.Module]]:
    """As many originals as retrained models, and as many again to compare both with."""
    everybody, kept = Part.whole(parts.retain.source), parts.retain
    whose = [everybody] * MODELS + [kept] * MODELS + [kept] * MODELS
    seeds = [stream("selftest", seed, place) for place in range(len(whose))]
    models: list[nn.Module] = [nn.Identity()] * len(whose)
    for fitted in fit_many(problem.recipe, whose, seeds, progress=progress):
        models[fitted.position] = fitted.model
    groups = (models[first : first + MODELS] for first in range(0, len(models), MODELS))
    return dict(zip(("original", "retrained", "reference"), groups, strict=True))


def _risk(seen: Snapshot) -> float:
    scores = Threshold("loss").score(seen)
    return auc(scores.member, scores.nonmember).value


def _use(seen: Snapshot) -> float:
    return seen.retain.accuracy


@dataclass(frozen=True)
class _Pooled(Metric):
    """Membership AUC and usefulness of several models, against as many retrained ones."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    before: tuple[Snapshot, ...]
    after: tuple[Snapshot, ...]
    margin: float = MARGIN
    utility_margin: float = 0.01

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        yield self._one(trial, "membership AUC, threshold (loss)", "match", _risk, self.margin)
        yield self._one(trial, "retain accuracy", "higher", _use, self.utility_margin)

    def _one(
        self, trial: Trial, name: str, goal: Goal, read: Callable[[Snapshot], float], margin: float
    ) -> Measurement:
        after, before, theirs = (
            torch.tensor([read(seen) for seen in each])
            for each in (self.after, self.before, trial.snapshots)
        )
        half = len(theirs) // 2
        found = mean_interval(after)
        return Measurement(
            name,
            found.value,
            goal,
            (found.low, found.high),
            n=len(after),
            original=mean_interval(before),
            target=tuple(theirs.tolist()),
            comparison=Comparison.of(group_difference(after, theirs), margin),
            control=Comparison.of(group_difference(before, theirs), margin),
            selftest=Comparison.of(group_difference(theirs[:half], theirs[half:]), margin),
            note=f"mean over {len(after)} models, of {CANARIES} records each",
        )
