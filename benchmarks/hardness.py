"""Forget sets that are harder than random ones: who leaves, and what data they leave.

- *memorised*: shadow models tell them apart best, by whether they were trained on them;
- *clustered*: nearest neighbours of one of them, in the original's features;
- *mislabelled*: their labels in training are wrong;
- *copied*: each has a copy that stays; *with copies*: each leaves together with its copy.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

import expunge
from expunge.batching import Batches
from expunge.observing import observe
from expunge.planting import joined, mislabelled, taken
from expunge.problems import Problem
from expunge.splitting import Part, labels_of

CHANGES = ("mislabelled", "copied", "with copies")
"""Kinds that change the data of those who train."""
_MODELS = 32  # that tell who is memorised
Rows = Int[Tensor, " k"]


def changed(kind: str, problem: Problem, count: int, seed: int) -> Problem:
    """The problem with the training data that the forget set is part of."""
    order = _drawn(problem, seed)
    some, rest = order[:count], order[count:].sort().values
    if kind == "mislabelled":
        wrong = mislabelled(taken(problem.train, some), seed, labels_of(problem.train))
        return replace(problem, train=joined(wrong, taken(problem.train, rest)))
    if kind in ("copied", "with copies"):
        return replace(problem, train=joined(taken(problem.train, some), problem.train))
    return problem


def leaving(kind: str, problem: Problem, count: int, seed: int, cache: Path) -> Rows:
    """Who leaves, of the changed problem."""
    return _CHOICES[kind](problem, count, seed, cache)


def _first(problem: Problem, count: int, seed: int, cache: Path) -> Rows:
    del problem, seed, cache
    return torch.arange(count)


def _with_copies(problem: Problem, count: int, seed: int, cache: Path) -> Rows:
    del cache
    whole = replace(problem, train=taken(problem.train, torch.arange(count, len(problem.train))))
    return torch.cat([torch.arange(count), count + _drawn(whole, seed)[:count]])


def _clustered(problem: Problem, count: int, seed: int, cache: Path) -> Rows:
    model, everybody = problem.trained(seed, cache), Batches(Part.whole(problem.train))
    (features,) = observe(model, everybody, problem.task, features=True).features.values()
    one = features[_drawn(problem, seed)[0]]
    return (features - one).square().sum(1).argsort()[:count]


def _memorised(problem: Problem, count: int, seed: int, cache: Path) -> Rows:
    found = expunge.shadow(
        problem.recipe, problem.train, task=problem.task, count=_MODELS, seed=seed, cache=cache
    )
    scores, inside = found.scores.double(), found.trained
    known = (scores * inside).sum(0) / inside.sum(0) - (scores * ~inside).sum(0) / (~inside).sum(0)
    return known.argsort(descending=True)[:count]


_CHOICES: Mapping[str, Callable[[Problem, int, int, Path], Rows]] = {
    "memorised": _memorised,
    "clustered": _clustered,
    "mislabelled": _first,
    "copied": _first,
    "with copies": _with_copies,
}


def _drawn(problem: Problem, seed: int) -> Rows:
    return torch.randperm(len(problem.train), generator=torch.Generator().manual_seed(seed))
