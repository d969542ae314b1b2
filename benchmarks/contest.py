"""One method among many: held to a share of retraining's time, audited, judged.

A method that takes longer is run again with less of what it says it can do less of, its *effort*:
fewer epochs, or fewer steps. One that takes longer still is kept in the table, and marked.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from meter import Taken, metered, one_pass
from table import Row
from torch import nn

import expunge
from expunge import Evidence, Outcome, audit, judge
from expunge.catalogue import find
from expunge.ensembles import References, Shadows
from expunge.errors import ExpungeError
from expunge.method import Method
from expunge.metric import Metric
from expunge.metrics.relearning import Relearning
from expunge.problems import Problem
from expunge.shadowing import shadow_of
from expunge.splitting import Split
from expunge.tiers import suite

_TRIES = 4  # to find settings that fit
_SHORT = 0.85  # of what would fit by a rule of three: something is always spent at the start
_EXACT = ("sisa", "closed_form")
_BY_HALVES = ("history", "folder")  # settings that belong to one original: no shadow has its own


@dataclass(frozen=True)
class Ring:
    """What all methods of one cell and seed are tried on, and beside."""

    problem: Problem
    original: nn.Module
    split: Split
    looked: Split  # the same with fewer retained samples
    references: References  # that were asked about the same
    retraining: float  # seconds
    cap: float  # share of them that a method may take
    history: Path | None
    cache: Path
    pairs: int = 0  # of shadow models; 0: none are trained
    runs: int = 5  # of relearning

    def tried(self, row: Row, seed: int) -> dict[str, Any]:
        """What it did, what it took, and what an audit says."""
        with TemporaryDirectory() as scratch:
            method = self._made(row, Path(scratch))
            original = self._own(method)
            outcome, taken = self._held(original, method, row.effort, seed)
            method = outcome.method or method  # with the effort that was given
            apart = self._apart(method, outcome, Path(scratch))
            evidence = self._evidence(replace(outcome, split=self.looked))
        verdict = judge(evidence)
        return {
            "method": method.name,
            "settings": method.describe(),
            "seconds": taken.seconds,
            "steps": len(outcome.traces.get("loss", ())),
            "retraining_seconds": self.retraining,
            "over": taken.seconds > self.cap * self.retraining,
            "passes": taken.flops / one_pass(self.original, self.problem.train, self.problem.task),
            "megabytes": taken.megabytes,
            "apart": apart,
            "verdict": verdict.word + (", degraded" if verdict.degraded else ""),
            "reasons": list(verdict.reasons),
            "notes": list(outcome.notes),
            "traces": {},
            "measurements": {m.name: m for m in evidence.measurements},
        }

    def _made(self, row: Row, scratch: Path) -> Method:
        found = find("methods", row.method)
        given: Mapping[str, Any] = {
            "history": self.history, "folder": scratch / "shards", "recipe": self.problem.recipe,
        }  # fmt: skip
        names = {item.name for item in fields(found)}
        method: Method = found(
            **{key: value for key, value in given.items() if key in names}, **_parts(row.settings)
        )
        return method

    def _own(self, method: Method) -> nn.Module:
        """The original; of methods that replace the model, what they make of the same samples."""
        if hasattr(method, "train"):
            made: nn.Module = method.train(self.problem.train)
            return made
        if hasattr(method, "prepare"):
            task, data = self.problem.task, self.problem.train
            return method.prepare(deepcopy(self.original), data, task=task)  # type: ignore[no-any-return]
        return self.original

    def _held(
        self, original: nn.Module, method: Method, effort: str, seed: int
    ) -> tuple[Outcome, Taken]:
        """Run it, with less effort until it fits."""
        kept = _Folder.of(method)
        for _ in range(_TRIES):

            def work(method: Method = method) -> Outcome:
                kept.restore()
                return expunge.unlearn(
                    original, self.split, method, task=self.problem.task, seed=seed
                )

            outcome, taken = metered(work)
            less = self._less(method, effort, taken.seconds)
            if less is None:
                break
            method = less
        return outcome, taken

    def _less(self, method: Method, effort: str, seconds: float) -> Method | None:
        """The same with as much effort as fits; None: it fits, or less is not possible."""
        share = self.cap * self.retraining / seconds
        if share >= 1 or not effort:
            return None
        now = getattr(method, effort)
        if isinstance(now, float):
            return replace(method, **{effort: now * share * _SHORT})
        fewer = max(1, int(now * share * _SHORT))
        return replace(method, **{effort: fewer}) if fewer < now else None

    def _apart(self, method: Method, outcome: Outcome, scratch: Path) -> float | None:
        """How far weights are from the same training without the forgotten, where that is exact."""
        retain, task = self.split.retain, self.problem.task
        if method.name not in _EXACT:
            return None
        if hasattr(method, "train"):
            again = replace(method, folder=scratch / "again").train(retain)  # type: ignore[attr-defined,call-arg]
        else:
            again = method.prepare(deepcopy(self.original), retain, task=task)  # type: ignore[attr-defined]
        one, other = (m.state_dict() for m in (outcome.after, again))
        return max(_distance(one[name], other[name]) for name in one.keys() & other.keys())

    def _evidence(self, outcome: Outcome) -> Evidence:
        targets, build = outcome.split.targets, self.problem.recipe.build
        metrics = [self._shortened(metric) for metric in suite(targets, build, "standard")]
        return audit(outcome, metrics, references=self.references, shadows=self._shadows(outcome))

    def _shortened(self, metric: Metric) -> Metric:
        return replace(metric, runs=self.runs) if isinstance(metric, Relearning) else metric

    def _shadows(self, outcome: Outcome) -> Shadows | None:
        method = outcome.method
        if not self.pairs or method is None or outcome.split.kind != "samples":
            return None
        if any(hasattr(method, name) for name in _BY_HALVES):
            return None
        try:
            return shadow_of(
                replace(outcome, split=self.split), self.problem.recipe, count=2 * self.pairs,
                cache=self.cache,
            )  # fmt: skip
        except ExpungeError:
            return None


@dataclass(frozen=True)
class _Folder:
    """The folder that a method changes, so that it can be run again from the same state."""

    place: Path | None
    files: Mapping[Path, bytes]

    @classmethod
    def of(cls, method: Method) -> "_Folder":
        place = getattr(method, "folder", None)
        if place is None or not Path(place).exists():
            return cls(None, {})
        files = {path: path.read_bytes() for path in Path(place).rglob("*") if path.is_file()}
        return cls(Path(place), files)

    def restore(self) -> None:
        if self.place is None:
            return
        for path in self.place.rglob("*"):
            if path.is_file() and path not in self.files:
                path.unlink()
        for path, body in self.files.items():
            path.write_bytes(body)


def _parts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are; the names of methods that are combined become these methods."""
    return {
        key: tuple(find("methods", name)() for name in value) if key == "methods" else value
        for key, value in settings.items()
    }


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.double() - other.double()).abs().max().item() if one.numel() else 0.0
