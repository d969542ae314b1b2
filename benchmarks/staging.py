"""What every row of one cell and seed is tried on: the original, its references, and a price."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from meter import clocked
from table import Cell, Row
from torch import nn
from training import history, references, trained

from expunge.catalogue import find
from expunge.ensembles import References
from expunge.fitting import Fit
from expunge.method import Method
from expunge.observing import snapshot
from expunge.precision import channels_last
from expunge.problems import Problem
from expunge.recipe import Recipe
from expunge.splitting import Part, Split

_RETAINED = 3000  # retained samples that are asked about; all of them would only cost time
_PACED = 4096  # training samples that the price of retraining is measured on
_WHOLE = 5.0  # seconds: shorter retraining is timed as a whole


@dataclass(frozen=True)
class Stage:
    """What all rows of one cell and seed share."""

    problem: Problem
    original: nn.Module
    split: Split
    looked: Split  # the same with fewer retained samples
    references: References  # that were asked about these
    retraining: float  # seconds of this thread that retraining takes
    history: Path | None  # of the original's run, where it was recorded

    def method(self, row: Row, also: Mapping[str, Any] | None = None) -> Method:
        """The row's method: with its settings, and of what is at hand what it has a place for."""
        found = find("methods", row.method)
        at_hand = {"history": self.history, "recipe": self.problem.recipe, **(also or {})}
        places = {item.name for item in fields(found)}
        given = {k: v for k, v in at_hand.items() if k in places and v is not None}
        made: Method = found(**given, **{k: _object(k, v) for k, v in row.settings.items()})
        return made

    def priced(self) -> "Stage":
        """The same, with what retraining takes now: a machine is not equally fast all day."""
        return replace(self, retraining=_price(self.problem, self.split))


def staged(cell: Cell, seed: int, data: Path | None, cache: Path) -> Stage:
    """Train what is not in the cache, and ask the references once."""
    problem = cell.posed(data, seed)
    original = channels_last(trained(cell, seed, problem, cache))
    parts = cell.split(problem, seed)
    retained = parts.retain.indices
    chance = torch.Generator().manual_seed(seed)  # every process asks about the same
    some = retained[torch.randperm(len(retained), generator=chance)[:_RETAINED].sort().values]
    looked = replace(parts, retain=Part(parts.retain.source, some))
    see = partial(snapshot, split=looked, task=problem.task, features=True)
    beside = References(()) if cell.attributes else references(cell, seed, data, cache)
    seen = tuple(replace(m, snapshot=see(channels_last(m.load()))) for m in beside.members)
    beside = replace(beside, members=seen)
    price = _price(problem, parts)
    return Stage(problem, original, parts, looked, beside, price, history(cell, seed, cache))


def _price(problem: Problem, parts: Split) -> float:
    """Seconds of retraining on this very thread: whole, or by an epoch over some of the samples."""
    fit = problem.recipe.fit
    if not isinstance(fit, Fit):
        return _busy(problem.recipe, parts.retain)
    ids = parts.retain.indices[:_PACED]
    once = replace(problem.recipe, fit=replace(fit, epochs=1))
    _busy(once, Part(parts.retain.source, ids[: 4 * fit.batch]))  # what comes first is slow
    seconds = _busy(once, Part(parts.retain.source, ids)) * fit.epochs
    if seconds < _WHOLE:  # then it is soon done, and an epoch would be mostly its start
        return _busy(problem.recipe, parts.retain)
    return seconds * len(parts.retain) / len(ids)


def _busy(recipe: Recipe, part: Part) -> float:
    return clocked(lambda: recipe.train(part))[1]


def _object(name: str, value: Any) -> Any:
    """What a setting names, as module:name or as methods to combine; any other value as it is."""
    if name == "methods":
        return tuple(find("methods", each)() for each in value)
    if not (isinstance(value, str) and ":" in value):
        return value
    module, _, attribute = value.partition(":")
    return getattr(import_module(module), attribute)
