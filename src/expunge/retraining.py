"""Make the models to compare with: retrained without the forget set, several seeds, cached."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from expunge.ensembles import Reference, References
from expunge.errors import TargetMismatch
from expunge.observing import snapshot
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.remembering import Notebook
from expunge.shelving import (
    Shelf,
    answers_of,
    begun,
    digest_of,
    loaded,
    making,
    numbered,
    snapshot_of,
    trained,
)
from expunge.splitting import Split
from expunge.storing import digest_tensors
from expunge.tasks import Task
from expunge.unlearning import warm


def retrain(
    split: Split,
    recipe: Recipe,
    *,
    task: Task,
    seeds: int | Sequence[int] = 5,
    cache: str | Path | None = None,
    progress: Progress = quiet,
) -> References:
    """Train ``recipe`` on the retain set, once a seed; with a cache, never twice.

    Args:
        split: The forget set that the references never see.
        recipe: How the original came to be.
        task: How to read batches and answers.
        seeds: How many references, or which seeds they have.
        cache: A folder that keeps models and answers; None keeps them in memory only.
        progress: Hears how far the training is.
    """
    if len(split.forget) == 0:
        raise TargetMismatch(
            "references never saw the forget set, but an attribute request removes nobody",
            hint="attributes are judged by what can still be read, not against retraining.",
        )
    numbers = numbered(seeds)
    shelf = None if cache is None else _shelf(cache, split, recipe, task)
    members = []
    for done, seed in enumerate(numbers):
        progress("retrain", done, len(numbers))
        members.append(_member(split, recipe, task, seed, shelf))
    progress("retrain", len(numbers), len(numbers))
    return References(tuple(members), Notebook(None if shelf is None else shelf.folder))


def kept(
    split: Split,
    recipe: Recipe,
    *,
    task: Task,
    seeds: int | Sequence[int] = 5,
    cache: str | Path | None = None,
) -> int:
    """How many of these references a cache holds already."""
    if cache is None:
        return 0
    shelf = Shelf.named(cache, "reference", making(split, recipe, task))
    return sum(shelf.weights(seed).exists() for seed in numbered(seeds))


def _shelf(cache: str | Path, split: Split, recipe: Recipe, task: Task) -> Shelf:
    made, unseen = making(split, recipe, task), split.forget.indices.tolist()
    return Shelf.of(cache, "reference", made, train=made["train"], unseen=unseen)


def _member(split: Split, recipe: Recipe, task: Task, seed: int, shelf: Shelf | None) -> Reference:
    found = None if shelf is None else _found(split, recipe, task, seed, shelf)
    if found is not None:
        return found
    warm()
    started = begun(seed, shelf)
    model = trained(recipe, split.retain, "reference", seed, shelf)
    seconds = time.perf_counter() - started
    seen = snapshot(model, split, task)
    digest = digest_of(digest_tensors(model.state_dict()), seen)
    if shelf is None:
        return Reference(lambda: model, seen, seed, seconds, digest)
    shelf.keep(seed, model, answers_of(seen), seconds)
    load = partial(loaded, recipe.build, shelf.weights(seed))
    return Reference(load, seen, seed, seconds, digest)


def _found(split: Split, recipe: Recipe, task: Task, seed: int, shelf: Shelf) -> Reference | None:
    load = partial(loaded, recipe.build, shelf.weights(seed))
    kept = shelf.find(seed, lambda: answers_of(snapshot(load(), split, task)))
    if kept is None:
        return None
    seen = snapshot_of(kept.answers, task, split.removed)
    return Reference(load, seen, seed, kept.seconds, digest_of(kept.weights, seen))
