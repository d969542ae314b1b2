"""Make the models to compare with: retrained without the forget set, several seeds, cached."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from expunge.batching import data_digest
from expunge.ensembles import Reference, References
from expunge.errors import BadSetting, TargetMismatch
from expunge.observing import Snapshot, snapshot
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.shelving import Shelf, answers_of, loaded, snapshot_of, start_of, trained
from expunge.splitting import Split
from expunge.storing import as_json, digest_tensors, digest_text
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
    numbers = range(seeds) if isinstance(seeds, int) else seeds
    if len(set(numbers)) < len(numbers):
        raise BadSetting(
            f"a seed is named twice: {list(numbers)}",
            hint="name every seed once: the same seed trains the same reference.",
        )
    shelf = None if cache is None else _shelf(cache, split, recipe, task)
    members = []
    for done, seed in enumerate(numbers):
        progress("retrain", done, len(numbers))
        members.append(_member(split, recipe, task, seed, shelf))
    progress("retrain", len(numbers), len(numbers))
    return References(tuple(members))


def _shelf(cache: str | Path, split: Split, recipe: Recipe, task: Task) -> Shelf:
    with seeded(0):  # data with random transforms draw numbers
        train, test = data_digest(split.retain.source), data_digest(split.test.source)
    made = {
        "forget": digest_tensors({"ids": split.forget.indices}),
        "train": train,
        "test": test,
        "recipe": recipe.describe(),
        "start": start_of(recipe),
        "task": as_json(task),
    }
    unseen = split.forget.indices.tolist()
    return Shelf.of(cache, "reference", made, train=train, unseen=unseen)


def _member(split: Split, recipe: Recipe, task: Task, seed: int, shelf: Shelf | None) -> Reference:
    found = None if shelf is None else _found(split, recipe, task, seed, shelf)
    if found is not None:
        return found
    warm()
    started = time.perf_counter()
    model = trained(recipe, split.retain, "reference", seed, shelf)
    seconds = time.perf_counter() - started
    seen = snapshot(model, split, task)
    digest = _digest(digest_tensors(model.state_dict()), seen)
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
    return Reference(load, seen, seed, kept.seconds, _digest(kept.weights, seen))


def _digest(weights: str, seen: Snapshot) -> str:
    """Of a reference as it was used: its weights, and what they answered."""
    return digest_text(weights, digest_tensors(answers_of(seen)))
