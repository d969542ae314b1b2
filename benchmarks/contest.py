"""One method among many: held to a share of retraining's time, audited, judged.

A method has as much effort as fits (`holding`). One that takes longer still is kept in the table,
and marked. Methods that make a model of their own kind are judged beside models of that kind; these
take long to train, and what is trained is kept until the row is written.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import torch
from holding import Hold
from meter import Taken, metered, one_pass
from restoring import Folder
from staging import Stage
from table import Cell, Row
from torch import nn

import expunge
from expunge import Evidence, Outcome, audit, judge
from expunge.ensembles import Reference, References, Shadows
from expunge.errors import ExpungeError
from expunge.method import Method
from expunge.metrics.attribution import Attribution
from expunge.metrics.relearning import Relearning
from expunge.observing import snapshot
from expunge.remembering import Notebook
from expunge.seeding import seeded
from expunge.shadowing import shadow_of
from expunge.splitting import Data
from expunge.storing import digest_json, digest_tensors
from expunge.tasks import Task
from expunge.tiers import suite

_PERTURBED = "newton_removal"  # no two of its heads are the same


@runtime_checkable
class Trains(Protocol):
    """A method that trains a model of its own kind, and keeps its parts in a folder."""

    folder: Path | str
    seed: int

    def train(self, data: Data) -> nn.Module:
        """That model, of these samples."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A method that gives a trained model a part of its own kind."""

    def prepare(self, model: nn.Module, data: Data, *, task: Task) -> nn.Module:
        """That model, with the part made of these samples."""
        ...


@dataclass(frozen=True)
class Ring:
    """A stage, and how methods are held and looked at on it."""

    stage: Stage
    cap: float  # share of retraining's seconds that a method may take
    cache: Path
    pairs: int  # of shadow models; 0: none are trained
    runs: int  # of relearning

    @classmethod
    def on(cls, stage: Stage, cell: Cell, cap: float, cache: Path) -> "Ring":
        """As the cell says how closely to look."""
        return cls(stage, cap, cache, cell.look.get("pairs", 0), cell.look.get("runs", 5))

    def tried(self, row: Row, seed: int) -> dict[str, Any]:
        """What it did, what it took, and what an audit says."""
        stage, problem = self.stage, self.stage.problem
        begun = self._begun(row, seed)
        method = _seeded(stage.method(row, {"folder": begun / "original"}), seed)
        original = _made(method, stage.original, problem.train, problem.task)
        with TemporaryDirectory() as scratch:
            method = _copied(method, Path(scratch) / "shards")
            run, limit = partial(self._run, original, seed=seed), self.cap * stage.retraining
            _, outcome, taken = Hold(run, row.effort, limit).held(method)
        references = self._references(method, begun)
        shadows, why = self._shadows(outcome)
        evidence = self._evidence(outcome, references, shadows)
        apart = self._apart(method, outcome, begun)
        verdict = judge(evidence)
        settled = method if outcome.method is None else outcome.method
        return {
            "method": settled.name,
            "settings": settled.describe(),
            "seconds": taken.seconds,
            "steps": len(outcome.traces.get("loss", ())),
            "retraining_seconds": stage.retraining,
            "over": taken.seconds > limit,
            "passes": taken.flops / one_pass(stage.original, problem.train, problem.task),
            "megabytes": taken.megabytes,
            "own": _own_kind(method),
            "apart": apart,
            "without": why,
            "verdict": verdict.word + (", degraded" if verdict.degraded else ""),
            "reasons": list(verdict.reasons),
            "notes": list(outcome.notes),
            "traces": {},
            "measurements": {m.name: m for m in evidence.measurements},
        }

    def clear(self, row: Row, seed: int) -> None:
        """Throw away what a row that is written had trained."""
        rmtree(self._begun(row, seed), ignore_errors=True)

    def _begun(self, row: Row, seed: int) -> Path:
        recipe, gone = self.stage.problem.recipe, self.stage.split.forget.indices
        asked = [recipe.describe(), digest_tensors({"gone": gone})]
        return self.cache / "begun" / digest_json([row.method, dict(row.settings), seed, asked])

    def _run(self, original: nn.Module, method: Method, seed: int) -> tuple[Outcome, Taken]:
        folder, stage = Folder.of(Path(getattr(method, "folder", "/nowhere"))), self.stage
        try:
            return metered(
                lambda: expunge.unlearn(
                    original, stage.split, method, task=stage.problem.task, seed=seed
                ),
                folder.restore,
            )
        finally:
            folder.restore()

    def _references(self, method: Method, begun: Path) -> References:
        """Retrained models; of a method that makes its own kind, as many of that kind."""
        if not _own_kind(method):
            return self.stage.references
        members = (self._alike(method, each, begun) for each in self.stage.references.members)
        return References(tuple(members), Notebook(begun / "asked"))

    def _alike(self, method: Method, reference: Reference, begun: Path) -> Reference:
        """What the method makes of the retained samples by a reference's seed."""
        stage, task = self.stage, self.stage.problem.task
        if isinstance(method, Trains):
            change: dict[str, Any] = {
                "folder": begun / str(reference.seed),
                "seed": reference.seed,
            }
            method = replace(method, **change)
        with seeded(reference.seed):
            model = _made(method, reference.load(), stage.split.retain, task)
        seen = snapshot(model, stage.looked, task, features=True)
        digest = digest_tensors(model.state_dict())
        return Reference(lambda: deepcopy(model), seen, reference.seed, reference.seconds, digest)

    def _apart(self, method: Method, outcome: Outcome, begun: Path) -> float | None:
        """How far weights are from the same training without the forgotten, where that is exact."""
        if not _own_kind(method) or method.name == _PERTURBED:
            return None
        if isinstance(method, Trains):
            change: dict[str, Any] = {"folder": begun / "again"}
            method = replace(method, **change)
        stage = self.stage
        again = _made(method, stage.original, stage.split.retain, stage.problem.task)
        one, other = (m.state_dict() for m in (outcome.after, again))
        return max(_distance(one[name], other[name]) for name in one.keys() & other.keys())

    def _evidence(
        self, outcome: Outcome, references: References, shadows: Shadows | None
    ) -> Evidence:
        asked = suite(outcome.split.targets, self.stage.problem.recipe.build, "standard")
        metrics = [
            replace(m, runs=self.runs) if isinstance(m, Relearning) else m
            for m in asked
            if not isinstance(m, Attribution)  # decides nothing, and would cost most of the time
        ]
        looked = replace(outcome, split=self.stage.looked)
        return audit(looked, metrics, references=references, shadows=shadows)

    def _shadows(self, outcome: Outcome) -> tuple[Shadows | None, str]:
        """Models for the sharper attack, or why there are none."""
        if not self.pairs or outcome.split.kind != "samples":
            return None, ""
        if any(hasattr(outcome.method, name) for name in ("history", "folder")):
            return None, "shadow models have no history and no folder of their own"
        recipe, count = self.stage.problem.recipe, 2 * self.pairs
        try:
            return shadow_of(outcome, recipe, count=count, cache=self.cache), ""
        except ExpungeError as why:  # a method that fails on other halves, say
            return None, why.fact


def _seeded(method: Method, seed: int) -> Method:
    """A method that trains a model of its own does it anew with every seed."""
    change: dict[str, Any] = {"seed": seed}
    return replace(method, **change) if isinstance(method, Trains) else method


def _copied(method: Method, folder: Path) -> Method:
    """The same with a copy of the folder that it keeps, if it keeps one."""
    if not isinstance(method, Trains):
        return method
    change: dict[str, Any] = {"folder": copytree(method.folder, folder)}
    return replace(method, **change)


def _own_kind(method: Method) -> bool:
    return isinstance(method, (Trains, Prepares))


def _made(method: Method, trained: nn.Module, data: Data, task: Task) -> nn.Module:
    """The model that the method starts from: its own, with a part of its own, or what there is."""
    if isinstance(method, Trains):
        return method.train(data)
    if isinstance(method, Prepares):
        return method.prepare(deepcopy(trained), data, task=task)
    return trained


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.double() - other.double()).abs().max().item() if one.numel() else 0.0
