"""Run every row of a table and write down what it did, one file a row: a killed run goes on.

The original and the reference of a cell are asked once. Times are seconds of the processor, on one
thread, so that waiting for a busy neighbour counts for nobody.
"""

import json
import os
import platform
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from contest import Ring
from table import Cell, Row, Table
from torch import nn
from training import claimed, history, references, trained

import expunge
from expunge.attacks.threshold import Threshold
from expunge.catalogue import find
from expunge.ensembles import References
from expunge.errors import Diverged, HistoryDoesNotFit, ModelDoesNotFit, TargetMismatch
from expunge.fitting import Fit
from expunge.metric import Measurement, Metric, Trial
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
from expunge.precision import channels_last
from expunge.problems import Problem
from expunge.recipe import Recipe
from expunge.splitting import Part, Split
from expunge.storing import digest_json, read_json, write_json

METRICS: tuple[Metric, ...] = (
    Accuracy(),
    Aus(),
    Loss(),
    Membership(Threshold("loss")),
    Probe(),
    ForgetFlow(),
    FeatureSpace(),
)
MACHINE = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
_RETAINED = 3000  # retained samples that are asked about; all of them would only cost time
_PACED = 4096  # training samples that the price of retraining is measured on


@dataclass(frozen=True)
class Stage:
    """What all rows of one cell and seed share."""

    problem: Problem
    original: nn.Module
    split: Split
    looked: Split  # the same with fewer retained samples
    before: Snapshot
    references: References
    retraining: float  # seconds of this thread that retraining takes
    history: Path | None  # of the original's run, where it was recorded
    metrics: tuple[Metric, ...]


def work(table: Table, data: Path | None, cache: Path, results: Path) -> None:
    """Run whatever row nobody else is running, in random order."""
    places = [(cell, seed) for cell in table.cells for seed in cell.seeds]
    random.Random().shuffle(places)  # noqa: S311 - an order, no secret
    places.sort(key=lambda place: place[0].seeds.index(place[1]))  # every cell once, then again
    for cell, seed in places:
        todo = [row for row in cell.rows if not kept(results, cell, seed, row).exists()]
        with claimed(cache, f"rows {cell.name} {seed}") as mine:
            if mine and todo:
                stage = _staged(cell, seed, data, cache, table.cap)
                random.Random().shuffle(todo)  # noqa: S311
                for row in todo:
                    path = kept(results, cell, seed, row)
                    body = _tried(stage, cell, seed, row) | {"key": path.stem}
                    write_json(path, "row", body)


def kept(results: Path, cell: Cell, seed: int, row: Row) -> Path:
    """Where a row's result is: named by all that it depends on but the code."""
    key = digest_json([cell.name, dict(cell.settings), dict(cell.forget), row.method,
                       dict(row.settings), seed])  # fmt: skip
    return results / f"{key[:20]}.json"


def recall(page: Path, results: Path) -> None:
    """Take up rows that an earlier run wrote to a page's JSON, perhaps on another machine."""
    told = json.loads(page.read_text()) if page.exists() else {"rows": []}
    for body in told["rows"]:
        path = results / f"{body.get('key', '')}.json"
        if "key" in body and not path.exists():
            write_json(path, "row", body)


def complete(cell: Cell, seed: int, results: Path) -> bool:
    """Whether every row of a cell has been run with this seed."""
    return all(kept(results, cell, seed, row).exists() for row in cell.rows)


def found(table: Table, results: Path) -> Iterator[tuple[Cell, Row, list[dict[str, Any]]]]:
    """What every row of a table found, seed by seed."""
    for cell in table.cells:
        for row in cell.rows:
            paths = [kept(results, cell, seed, row) for seed in cell.seeds]
            yield cell, row, [read_json(path, "row") for path in paths if path.exists()]


def _staged(
    cell: Cell, seed: int, data: Path | None, cache: Path, cap: float | None = None
) -> Stage | Ring:
    problem = cell.posed(data)
    original = channels_last(trained(cell, seed, problem, cache))
    parts = cell.split(problem, seed)
    retained = parts.retain.indices
    some = retained[torch.randperm(len(retained))[:_RETAINED].sort().values]
    looked = replace(parts, retain=Part(parts.retain.source, some))
    see = partial(snapshot, split=looked, task=problem.task, features=True)
    members = () if cell.attributes else references(cell, seed, data, cache).members
    others = tuple(replace(m, snapshot=see(channels_last(m.load()))) for m in members)
    price, tape = _price(problem, parts), history(cell, seed, cache)
    if cap is not None:
        return Ring(
            problem, original, parts, looked, References(others), price, cap, tape, cache,
            cell.look.get("pairs", 0), cell.look.get("runs", 5),
        )  # fmt: skip
    return Stage(
        problem,
        original,
        parts,
        looked,
        see(original),
        References(others),
        price,
        tape,
        _metrics(cell, problem),
    )


def _metrics(cell: Cell, problem: Problem) -> tuple[Metric, ...]:
    """What a row is measured by: attributes leave no one out, and have evidence of their own."""
    if not cell.attributes:
        return METRICS
    told = {"build": problem.recipe.build}
    again = (Reattack(**told),) if cell.look.get("reattack") else ()
    layers = None if cell.look.get("layers") else ()
    return Accuracy(), Fairness(), Leakage(layers=layers, **told), Selectivity(), *again


def _price(problem: Problem, parts: Split) -> float:
    """Seconds of retraining on this very thread: whole, or by an epoch over some of the samples."""
    fit = problem.recipe.fit
    if not isinstance(fit, Fit):
        return _busy(problem.recipe, parts.retain)
    ids = parts.retain.indices[:_PACED]
    once = replace(problem.recipe, fit=replace(fit, epochs=1))
    _busy(once, Part(parts.retain.source, ids[: 4 * fit.batch]))  # what comes first is slow
    seconds = _busy(once, Part(parts.retain.source, ids))
    return seconds * fit.epochs * len(parts.retain) / len(ids)


def _busy(recipe: Recipe, part: Part) -> float:
    started = time.process_time()
    recipe.train(part)
    return time.process_time() - started


def _tried(stage: Stage | Ring, cell: Cell, seed: int, row: Row) -> dict[str, Any]:
    """A row that fails says why; the others go on."""
    told = {"cell": cell.name, "row": row.name, "seed": seed}
    try:
        found = stage.tried(row, seed) if isinstance(stage, Ring) else _run(stage, seed, row)
    except (Diverged, ModelDoesNotFit, TargetMismatch, HistoryDoesNotFit) as why:
        return told | {"failed": why.fact}
    found["measurements"] = {name: _told(m) for name, m in found["measurements"].items()}
    return told | found | _circumstances()


def _circumstances() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in ("expunge", "torch")},
        "threads": torch.get_num_threads(),
        "machine": MACHINE,
    }


def _run(stage: Stage, seed: int, row: Row) -> dict[str, Any]:
    found = find("methods", row.method)
    reads = stage.history is not None and "history" in {f.name for f in fields(found)}
    settings = {name: _object(value) for name, value in row.settings.items()}
    method = found(**settings, **({"history": stage.history} if reads else {}))
    started = time.process_time()
    outcome = expunge.unlearn(
        stage.original, stage.split, method, task=stage.problem.task, seed=seed
    )
    busy = time.process_time() - started
    looked = replace(outcome, split=stage.looked)
    after = snapshot(outcome.after, stage.looked, stage.problem.task, features=True)
    trial = Trial(looked, stage.before, after, stage.references)
    return {
        "method": method.name,
        "settings": method.describe(),
        "seconds": busy,
        "wall_seconds": outcome.seconds,
        "steps": len(outcome.traces.get("loss", ())),
        "retraining_seconds": stage.retraining,
        "reference_seconds": stage.references.seconds if len(stage.references) else None,
        "notes": list(outcome.notes),
        "traces": {k: list(v) for k, v in outcome.traces.items() if k != "loss"},
        "measurements": {m.name: m for metric in stage.metrics for m in metric.measure(trial)},
    }


def _object(value: Any) -> Any:
    """What a setting names, as module:name; any other value as it is."""
    if not (isinstance(value, str) and ":" in value):
        return value
    module, name = value.split(":")
    return getattr(import_module(module), name)


def _told(m: Measurement) -> dict[str, Any]:
    return {
        "value": m.value,
        "interval": None if m.interval is None else list(m.interval),
        "original": None if m.original is None else m.original.value,
        "references": list(m.target),
        "n": m.n,
        "note": m.note,
    }
