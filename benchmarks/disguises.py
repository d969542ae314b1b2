"""A class that was removed, and one that was only hidden: what tells them apart, and what cannot.

Digits without their threes: a network retrained without them, the original, the original trained
five more epochs on the others, and the original with fifteen taken from one bias, so that it never
says three again. Every network is asked what papers ask, and what expunge asks besides.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any

import torch
from figures import lasting
from finding import Asked, Section, Stage, interval, spread
from table import grid
from torch import Tensor, nn

from expunge import Classes, Outcome, Request, audit, split
from expunge.algebra.statistics import auc
from expunge.ensembling import fit_many
from expunge.exams import Exam
from expunge.faking import masked
from expunge.fitting import Fit
from expunge.metrics.aus import aus
from expunge.metrics.probe import Probe
from expunge.observing import Snapshot, snapshot
from expunge.planting import joined, taken
from expunge.problems.digits import digits
from expunge.recipe import Recipe
from expunge.reteaching import Course, Lesson
from expunge.seeding import seeded
from expunge.splitting import Data, Part, Split
from expunge.tasks import Task

CLASS, TRAIN = 3, 1200
ANSWERS = ("kept", "removed", "aus", "all", "same", "probe")
_PUBLISHED = {
    "original": (0.980, 0.938, 0.516, 0.563, 0.582, 0.998, "median 0"),
    "fine-tuned": (0.980, 0.882, 0.531, 0.388, 0.584, 0.998, "-"),
    "masked": (0.981, 0.000, 1.001, 0.057, 0.582, 0.998, "median 55"),
    "retrained": (0.984, 0.000, 1.004, 0.054, 0.545, 0.984, "median 261, 6 of 12 censored"),
}
_HEAD = (
    "model",
    "accuracy, kept",
    "accuracy, removed",
    "AUS",
    "AUC against all unseen",
    "AUC against unseen threes",
    "probe AUC",
    "steps to relearn",
)


@dataclass(frozen=True)
class World:
    """The split, and networks of every kind, seed by seed."""

    parts: Split
    task: Task
    models: Mapping[str, list[nn.Module]]

    @classmethod
    def of(cls, seeds: int, epochs: int) -> "World":
        """Train as many originals, and as many networks that never saw a three."""
        problem = digits(epochs=epochs)
        train, test = halves()
        parts = split(train, Request(Classes((CLASS,))), test=test)
        originals = together(problem.recipe, Part.whole(train), range(seeds))
        models = {
            "original": originals,
            "fine-tuned": [_tuned(model, parts, k) for k, model in enumerate(originals)],
            "masked": [masked(model, parts.retain, problem.task, (CLASS,)) for model in originals],
            "retrained": together(problem.recipe, parts.retain, range(1000, 1000 + seeds)),
        }
        return cls(parts, problem.task, models)

    def each(self, count: int) -> Iterator[tuple[str, list[nn.Module], list[nn.Module]]]:
        """Every kind: the originals, and what became of them."""
        for name, models in self.models.items():
            yield name, self.models["original"][:count], models[:count]


def parts(settings: Mapping[str, Any]) -> list[str]:
    """What is told from answers and features, and what by teaching again."""
    del settings
    return ["answers", "relearning"]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Ask every network."""
    del stage
    if part == "answers":
        return _answers(settings)
    world = World.of(settings["relearnt"], settings["epochs"])
    return {name: [_relearnt(world, *pair, settings) for pair in zip(one, other, strict=True)]
            for name, one, other in world.each(settings["relearnt"])}  # fmt: skip


def halves() -> tuple[Data, Data]:
    """The first 1,200 digits, and the other 597."""
    problem = digits()
    data = joined(problem.train, problem.validation, problem.test)
    return taken(data, torch.arange(TRAIN)), taken(data, torch.arange(TRAIN, len(data)))


def together(recipe: Recipe, part: Part, seeds: range) -> list[nn.Module]:
    """Networks of several seeds, trained as one stack."""
    fitted = fit_many(recipe, [part] * len(seeds), seeds, way="vmap")
    return [each.model for each in sorted(fitted, key=lambda each: each.position)]


def _tuned(model: nn.Module, parts: Split, seed: int) -> nn.Module:
    with seeded(seed), torch.enable_grad():
        return Fit(epochs=5, lr=0.05, batch=50)(deepcopy(model), parts.retain)


def _answers(settings: Mapping[str, Any]) -> dict[str, Any]:
    world = World.of(settings["accuracies"], settings["epochs"])
    found: dict[str, dict[str, list[float]]] = {}
    for name, originals, models in world.each(settings["accuracies"]):
        mine: dict[str, list[float]] = {column: [] for column in ANSWERS}
        for seed, (before, after) in enumerate(zip(originals, models, strict=True)):
            old, seen = (snapshot(m, world.parts, world.task) for m in (before, after))
            mine["kept"].append(seen.test_kept.accuracy)
            mine["removed"].append(seen.test_removed.accuracy)
            score = aus(old.test_kept.accuracy, mine["kept"][-1], mine["removed"][-1])
            mine["aus"].append(score)
            if seed < settings["attacked"]:
                mine["all"].append(_attack(seen, seen.test.phi))
                mine["same"].append(_attack(seen, seen.test_removed.phi))
            if seed < settings["probed"]:
                mine["probe"].append(_probed(world, before, after))
        found[name] = mine
    return found


def _attack(seen: Snapshot, unseen: Tensor) -> float:
    return auc(seen.forget.phi, unseen).value


def _probed(world: World, before: nn.Module, after: nn.Module) -> float:
    outcome = Outcome.of(before, after, world.parts, task=world.task)
    found = audit(outcome, [Probe()]).measurement("class-probe AUC").value
    if found is None:
        raise ValueError("the probe found nothing")
    return found


def _relearnt(
    world: World, before: nn.Module, after: nn.Module, settings: Mapping[str, Any]
) -> float | None:
    """Steps until nine tenths of the original's marks; None where it does not come so far."""
    parts, task = world.parts, world.task
    course = Course(20, 9, settings["steps"], 50, "sgd", 0.02, 1)
    seen = snapshot(before, parts, task)
    exam = Exam.about(parts.test.source, seen.test, (CLASS,), "threes", 200)
    goals = {"threes": 0.9 * exam.marks(before, task)["threes"]}
    source, gone = parts.retain.source, parts.forget.indices
    lesson = Lesson(course, task, source, gone, parts.retain.indices, exam, goals)
    steps = lesson.runs(after, 1)["threes"].item()
    return steps if isfinite(steps) else None


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """The table, with what was published in every second row."""
    answers, again = found.get("answers", {}), found.get("relearning", {})
    body = []
    for name, published in _PUBLISHED.items():
        mine = [spread(answers[name][c]) if name in answers else "-" for c in ANSWERS]
        body.append([name, *mine, _told(again[name], settings) if name in again else "-"])
        body.append(["*published*", *(f"{x:.3f}" for x in published[:-1]), str(published[-1])])
    text = _READING.format(**settings)
    asked = _asked(answers, again, settings) if answers and again else ()
    shown = {name: again[name] for name in _PUBLISHED if name in again}
    left = "runs in which threes are not known again"
    picture = lasting(shown, settings["steps"], left) if shown else ""
    return Section((text, grid(_HEAD, body)), tuple(asked), picture)


def _told(steps: list[float | None], settings: Mapping[str, Any]) -> str:
    late = steps.count(None)
    usual = median([x for x in steps if x is not None] or [settings["steps"]])
    said = f", {late} of {len(steps)} censored" if late else ""
    return f"{spread(_counted(steps, settings), 0)}; median {usual:.0f}{said}"


def _counted(steps: list[float | None], settings: Mapping[str, Any]) -> list[float]:
    """A censored run counts as the most, which makes the mean a restricted one."""
    return [float(settings["steps"]) if x is None else x for x in steps]


def _asked(
    answers: Mapping[str, Any], again: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[Asked]:
    def gap(name: str, column: str) -> float:
        return interval(answers[name][column]).value - interval(answers["retrained"][column]).value

    near = max(abs(gap("masked", column)) for column in ("kept", "removed", "aus", "all"))
    yield Asked(
        "accuracies, AUS and the AUC against all unseen take a mask for a retrained network",
        f"at most {near:.3f} apart",
        near < 0.02,
    )
    mask, fresh = (interval(answers[name]["probe"]) for name in ("masked", "retrained"))
    yield Asked(
        "a probe can",
        f"{mask.value:.3f} against {fresh.value:.3f}",
        mask.low > fresh.high,
    )
    soon, late = (interval(_counted(again[name], settings)) for name in ("masked", "retrained"))
    yield Asked(
        "teaching it again can",
        f"{soon.value:.0f} steps against {late.value:.0f}",
        soon.high < late.low,
    )


_READING = """\
Networks of 64-128-128-10 units on 1,200 digits; 597 are unseen. *AUC* is how well the margin of the
true label tells the removed training images from all unseen images, which is a wrong question, or
from unseen threes. *Steps to relearn* are those of SGD at .02 on 20 threes and 180 others until
nine tenths of the original's marks: the mean, of which no more than {steps} count, and the median
of the runs that came so far, as published; the others are censored. Marks are the share of unseen
threes that are named so, less the share of others that are; the published ones leave out the
second. Our probe is expunge's, with a weaker penalty than the published one. {accuracies} seeds,
{attacked} of them attacked, {probed} probed, {relearnt} taught again; intervals are Student's over
seeds.
"""
