"""One method among many: held to a share of retraining's time, audited, judged.

A method that takes longer is run again with less of what it says it can do less of, its *effort*:
fewer epochs, or fewer steps. One that takes longer still is kept in the table, and marked. Where
retraining takes long, a little effort comes first, and then as much as that says will fit. Nobody
waits for a run that takes several times as long as it may, if there is less that it could do.
Methods that make a model of their own kind are judged beside models of that kind.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from meter import Taken, TooLong, hurried, metered, one_pass
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
from expunge.seeding import seeded
from expunge.shadowing import shadow_of
from expunge.splitting import Data
from expunge.storing import digest_tensors
from expunge.tasks import Task
from expunge.tiers import suite

_TRIES = 4  # to find settings that fit
_LITTLE = 0.05  # of the effort comes first, where retraining takes long
_NEARLY = 0.95  # of the time that is left is taken: clocks differ
_PATIENCE = 4  # times as long as it may take
_SOON = 60.0  # seconds that anybody waits
_FITS = 0.85  # of what would fit by a rule of three: something is always spent at the start
_PERTURBED = "newton_removal"  # no two of its heads are the same


@runtime_checkable
class Trains(Protocol):
    """A method that trains a model of its own kind."""

    def train(self, data: Data) -> nn.Module:
        """That model, of these samples."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A method that gives a trained model a part of its own kind."""

    def prepare(self, model: nn.Module, data: Data, *, task: Task) -> nn.Module:
        """That model, with the part made of these samples."""
        ...


class Tried(NamedTuple):
    """A method as it was run, what it made, and what that took."""

    method: Method
    outcome: Outcome
    taken: Taken


Run = Callable[[Method], tuple[Outcome, Taken]]


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
        with TemporaryDirectory() as scratch:
            method = stage.method(row, {"folder": Path(scratch) / "shards"})
            original = _made(method, stage.original, problem.train, problem.task)
            outcome, taken = self._held(original, method, row.effort, seed)
            references = self._references(method, Path(scratch))
            shadows, why = self._shadows(outcome)
            evidence = self._evidence(outcome, references, shadows)
            apart = self._apart(method, outcome, Path(scratch))
        verdict = judge(evidence)
        settled = method if outcome.method is None else outcome.method
        return {
            "method": settled.name,
            "settings": settled.describe(),
            "seconds": taken.seconds,
            "steps": len(outcome.traces.get("loss", ())),
            "retraining_seconds": stage.retraining,
            "over": taken.seconds > self._limit,
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

    def _held(
        self, original: nn.Module, method: Method, effort: str, seed: int
    ) -> tuple[Outcome, Taken]:
        """Run it with as much effort as fits, or as little as is less work."""
        run = partial(self._run, original, seed=seed)
        little = self._little(method, effort)
        tried = self._first(run, little, effort)
        if tried.method is little:  # what took too long is not tried with more
            tried = self._raised(run, method, effort, tried)
        for _ in range(_TRIES - 1):
            less = self._less(tried.method, effort, tried.taken.seconds)
            if less is None:
                break
            lighter = Tried(less, *run(less))
            if lighter.taken.flops >= tried.taken.flops:
                break
            tried = lighter
        return tried.outcome, tried.taken

    def _first(self, run: Run, method: Method, effort: str) -> Tried:
        """Run it; where that takes too long and it could do less, run it with less."""
        while (less := self._less(method, effort, self._enough)) is not None:
            with suppress(TooLong), hurried(self._enough):
                return Tried(method, *run(method))
            method = less
        return Tried(method, *run(method))

    def _raised(self, run: Run, most: Method, effort: str, first: Tried) -> Tried:
        """Run it with more for as long as that fits."""
        each = [first]
        while len(each) < _TRIES and (more := self._more(each, most, effort)) is not None:
            with suppress(TooLong), hurried(self._enough):
                tried = Tried(more, *run(more))
                if tried.taken.seconds <= self._limit:
                    each.append(tried)
                    continue
            break
        return each[-1]

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

    @property
    def _limit(self) -> float:
        """Seconds that a method may take."""
        return self.cap * self.stage.retraining

    @property
    def _enough(self) -> float:
        """Seconds that anybody waits for it."""
        return max(_PATIENCE * self._limit, _SOON)

    def _little(self, method: Method, effort: str) -> Method:
        """The same with little effort, if all of it may take long."""
        if not effort or self._limit < _SOON:
            return method
        return _with(method, effort, _LITTLE * getattr(method, effort))

    def _more(self, each: Sequence[Tried], most: Method, effort: str) -> Method | None:
        """The same with as much more as fits, by a rule of three, or by the line of two runs."""
        if not effort:
            return None
        sizes = [getattr(tried.method, effort) for tried in each]
        times = [tried.taken.seconds for tried in each]
        now, full, limit = sizes[-1], getattr(most, effort), _NEARLY * self._limit
        if now >= full:
            return None
        if len(each) < 2:
            fits = now * limit / times[-1]
        else:
            slope = (times[-1] - times[-2]) / (now - sizes[-2])
            fits = now + (limit - times[-1]) / slope if slope > 0 else full
        more = _with(most, effort, min(full, fits))
        return more if getattr(more, effort) > now else None

    def _less(self, method: Method, effort: str, seconds: float) -> Method | None:
        """The same with as much effort as fits; None: it fits, or less is not possible."""
        share = self._limit / seconds
        if share >= 1 or not effort:
            return None
        now = getattr(method, effort)
        less = _with(method, effort, now * share * _FITS)
        return less if getattr(less, effort) < now else None

    def _references(self, method: Method, scratch: Path) -> References:
        """Retrained models; of a method that makes its own kind, as many of that kind."""
        if not _own_kind(method):
            return self.stage.references
        return References(
            tuple(self._alike(method, each, scratch) for each in self.stage.references.members)
        )

    def _alike(self, method: Method, reference: Reference, scratch: Path) -> Reference:
        """What the method makes of the retained samples by a reference's seed."""
        stage, task = self.stage, self.stage.problem.task
        if isinstance(method, Trains):
            change: dict[str, Any] = {
                "folder": scratch / str(reference.seed),
                "seed": reference.seed,
            }
            method = replace(method, **change)
        with seeded(reference.seed):
            model = _made(method, reference.load(), stage.split.retain, task)
        seen = snapshot(model, stage.looked, task, features=True)
        digest = digest_tensors(model.state_dict())
        return Reference(lambda: deepcopy(model), seen, reference.seed, reference.seconds, digest)

    def _apart(self, method: Method, outcome: Outcome, scratch: Path) -> float | None:
        """How far weights are from the same training without the forgotten, where that is exact."""
        if not _own_kind(method) or method.name == _PERTURBED:
            return None
        if isinstance(method, Trains):
            change: dict[str, Any] = {"folder": scratch / "again"}
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


def _with(method: Method, effort: str, size: float) -> Method:
    """The same with another effort; where that is counted, with one at least."""
    whole = not isinstance(getattr(method, effort), float)
    return replace(method, **{effort: max(1, int(size)) if whole else size})


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
