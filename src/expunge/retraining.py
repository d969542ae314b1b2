"""Make the models to compare with: retrained without the forget set, several seeds, cached."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from expunge.batching import data_digest
from expunge.ensembles import Reference, References
from expunge.errors import BadSetting, CannotRead, TargetMismatch
from expunge.fitting import Fit, untaped
from expunge.observing import Observation, Snapshot, snapshot
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.splitting import Split
from expunge.storing import (
    as_json,
    digest_json,
    digest_tensors,
    digest_text,
    forget_file,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
)
from expunge.tasks import Task
from expunge.unlearning import seeded, warm

log = logging.getLogger("expunge")

_PARTS = ("forget", "retain", "test")


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
    shelf = None if cache is None else _Shelf.of(Path(cache), split, recipe, task)
    members = []
    for done, seed in enumerate(numbers):
        progress("retrain", done, len(numbers))
        members.append(_member(split, recipe, task, seed, shelf))
    progress("retrain", len(numbers), len(numbers))
    return References(tuple(members))


def purge(ids: Tensor, train: str, cache: str | Path) -> list[Path]:
    """Remove from a cache what it holds of these samples of a training set; say which files.

    A reference that was trained without them keeps its weights and loses the answers about them.
    One that was trained with them, for another request, goes as a whole.
    """
    removed = []
    for about in sorted(Path(cache).glob("*/about.json")):
        body = read_json(about, "references")
        if body["train"] != train:
            continue
        innocent = {int(i) for i in ids} <= set(body["forget"])
        patterns = ("*.answers.safetensors", ".*.partial") if innocent else ("*", ".*.partial")
        found = {path for pattern in patterns for path in about.parent.glob(pattern)}
        removed += [path for path in sorted(found) if forget_file(path)]
        if innocent:
            kept = sorted(set(body["forget"]) - {int(i) for i in ids})
            write_json(about, "references", {"train": train, "forget": kept})
    return removed


def _member(
    split: Split, recipe: Recipe, task: Task, seed: int, shelf: "_Shelf | None"
) -> Reference:
    found = None if shelf is None else shelf.find(recipe, split, task, seed)
    if found is not None:
        return found
    warm()
    started = time.perf_counter()
    model = _trained(split, recipe, seed, shelf)
    seconds = time.perf_counter() - started
    seen = snapshot(model, split, task)
    digest = _digest(digest_tensors(model.state_dict()), seen)
    if shelf is None:
        return Reference(lambda: model, seen, seed, seconds, digest)
    shelf.keep(seed, model, seen, seconds)
    return Reference(partial(_loaded, recipe, shelf.weights(seed)), seen, seed, seconds, digest)


def _digest(weights: str, seen: Snapshot) -> str:
    """Of a reference as it was used: its weights, and what they answered."""
    return digest_text(weights, digest_tensors(_tensors(seen)))


def _tensors(seen: Snapshot) -> dict[str, Tensor]:
    parts: dict[str, Observation] = {part: getattr(seen, part) for part in _PARTS}
    return {
        f"{part}.{name}": getattr(observed, name)
        for part, observed in parts.items()
        for name in ("ids", "logits", "labels")
    }


def _trained(split: Split, recipe: Recipe, seed: int, shelf: "_Shelf | None") -> nn.Module:
    recipe = untaped(recipe)
    if isinstance(recipe.fit, Fit) and shelf is not None:
        checkpoint = shelf.folder / f"training-{seed}.safetensors"
        recipe = replace(recipe, fit=replace(recipe.fit, checkpoint=checkpoint))
    with seeded(_stream(seed)), torch.enable_grad():
        return recipe.train(split.retain)


def _stream(seed: int) -> int:
    """A stream of random numbers that no original and no method of the same seed draws from."""
    return int(digest_text("reference", str(seed))[:15], 16)


def _loaded(recipe: Recipe, path: Path) -> nn.Module:
    with seeded(0):
        model = recipe.build()
    try:
        model.load_state_dict(load_tensors(path)[0])
    except RuntimeError as why:
        raise CannotRead(f"{path} holds the weights of another model") from why
    return model.eval()


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The folder of one request's references, named by all that made them."""

    folder: Path

    @classmethod
    def of(cls, cache: Path, split: Split, recipe: Recipe, task: Task) -> "_Shelf":
        with seeded(0):  # a fresh model, and data with random transforms, draw numbers
            start = digest_tensors(recipe.build().state_dict())
            train, test = data_digest(split.retain.source), data_digest(split.test.source)
        key = digest_json(
            {
                "forget": digest_tensors({"ids": split.forget.indices}),
                "train": train,
                "test": test,
                "recipe": recipe.describe(),
                "start": start,
                "task": as_json(task),
            }
        )
        shelf = cls(cache / key[:20])
        about = {"train": train, "forget": split.forget.indices.tolist()}
        write_json(shelf.folder / "about.json", "references", about)
        return shelf

    def weights(self, seed: int) -> Path:
        return self.folder / f"reference-{seed}.safetensors"

    def answers(self, seed: int) -> Path:
        return self.folder / f"reference-{seed}.answers.safetensors"

    def find(self, recipe: Recipe, split: Split, task: Task, seed: int) -> Reference | None:
        if not self.weights(seed).exists():
            return None
        try:
            state, meta = load_tensors(self.weights(seed))
            seconds, weights = float(meta["seconds"]), digest_tensors(state)
            _check(meta["weights"] == weights, self.weights(seed))
            load = partial(_loaded, recipe, self.weights(seed))
            seen = self._read(seed, weights, split, task)
            if seen is None:
                seen = snapshot(load(), split, task)
                self._write(seed, weights, seen)
        except (CannotRead, KeyError) as why:
            log.warning("reference %d is trained again: %s", seed, why)
            return None
        return Reference(load, seen, seed, seconds, _digest(weights, seen))

    def keep(self, seed: int, model: nn.Module, seen: Snapshot, seconds: float) -> None:
        weights = digest_tensors(model.state_dict())
        self._write(seed, weights, seen)
        meta = {"seconds": json.dumps(seconds), "weights": weights}
        save_tensors(self.weights(seed), model.state_dict(), meta)

    def _write(self, seed: int, weights: str, seen: Snapshot) -> None:
        tensors = _tensors(seen)
        meta = {"weights": weights, "answers": digest_tensors(tensors)}
        save_tensors(self.answers(seed), tensors, meta)

    def _read(self, seed: int, weights: str, split: Split, task: Task) -> Snapshot | None:
        if not self.answers(seed).exists():
            return None
        try:
            tensors, meta = load_tensors(self.answers(seed))
            _check(meta["weights"] == weights, self.answers(seed))
            _check(meta["answers"] == digest_tensors(tensors), self.answers(seed))
            forget, retain, test = (_observation(tensors, part, task) for part in _PARTS)
        except (CannotRead, KeyError) as why:
            log.warning("reference %d is asked again: %s", seed, why)
            return None
        return Snapshot(forget, retain, test, split.removed)


def _check(sound: bool, path: Path) -> None:  # noqa: FBT001 - reads as a sentence
    if not sound:
        raise CannotRead(f"{path} was changed after it was written")


def _observation(tensors: Mapping[str, Tensor], part: str, task: Task) -> Observation:
    names = (f"{part}.ids", f"{part}.logits", f"{part}.labels")
    ids, logits, labels = (tensors[name] for name in names)
    return Observation(ids, logits, labels, task.kind)
