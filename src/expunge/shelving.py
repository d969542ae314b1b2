"""Keep trained models on disk, with what they answered, so that none is trained twice.

A shelf is one folder of a cache, named by all that made its models; each of them has a seed. Files
are checked when they are read: what is torn or was changed is made again.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from expunge.accounting import accounted
from expunge.batching import data_digest
from expunge.errors import BadSetting, CannotRead
from expunge.fitting import Fit, spent, untaped
from expunge.observing import Observation, Snapshot
from expunge.recipe import Recipe
from expunge.seeding import seeded, stream
from expunge.splitting import Data, Part, Split
from expunge.storing import (
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

log = logging.getLogger("expunge")

Answers = Mapping[str, Tensor]

_PARTS = ("forget", "retain", "test")
_FIELDS = ("ids", "logits", "labels")


class Kept(NamedTuple):
    """What a shelf holds of one model, beside its weights."""

    answers: Answers
    seconds: float  # its training took
    weights: str  # their digest


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of models that one thing made, each by its own seed."""

    folder: Path
    kind: str = "reference"  # what one of its models is called

    @classmethod
    def of(
        cls, cache: str | Path, kind: str, made: Any, *, train: str, unseen: Sequence[int]
    ) -> "Shelf":
        """The shelf of what ``made`` tells.

        Args:
            cache: The folder of all shelves.
            kind: What one of the models is called.
            made: All that a model hangs on, but for its seed, as JSON.
            train: Digest of the training set.
            unseen: Positions of the samples that none of the models saw; by them `purge` tells
                which files must go when somebody's samples do.
        """
        shelf = cls.named(cache, kind, made)
        write_json(shelf.about, "references", {"train": train, "forget": [*unseen]})
        return shelf

    @classmethod
    def named(cls, cache: str | Path, kind: str, made: Any) -> "Shelf":
        """The same shelf to look at: nothing is written."""
        return cls(Path(cache) / digest_json(made)[:20], kind)

    def weights(self, seed: int) -> Path:
        """Where the weights of a model are kept."""
        return self.folder / f"{self.kind}-{seed}.safetensors"

    def answers(self, seed: int) -> Path:
        """Where its answers are kept."""
        return self.folder / f"{self.kind}-{seed}.answers.safetensors"

    def training(self, seed: int) -> Path:
        """Where its training goes on after an interruption."""
        return self.folder / f"training-{seed}.safetensors"

    def find(self, seed: int, ask: Callable[[], Answers]) -> Kept | None:
        """What is kept of a model; None if it must be made. Lost answers are asked for again."""
        if not self.weights(seed).exists():
            return None
        try:
            state, meta = load_tensors(self.weights(seed))
            seconds, weights = float(meta["seconds"]), digest_tensors(state)
            _check(meta["weights"] == weights, self.weights(seed))
            answers = self._read(seed, weights)
            if answers is None:
                answers = ask()
                self._write(seed, weights, answers)
        except (CannotRead, KeyError) as why:
            log.warning("%s %d is trained again: %s", self.kind, seed, why)
            return None
        return Kept(answers, seconds, weights)

    def keep(self, seed: int, model: nn.Module, answers: Answers, seconds: float) -> None:
        """Write a model; the weights come last, and say that all is there."""
        weights = digest_tensors(model.state_dict())
        self._write(seed, weights, answers)
        meta = {"seconds": json.dumps(seconds), "weights": weights}
        save_tensors(self.weights(seed), model.state_dict(), meta)

    def note(self, seed: int, answers: Answers, weights: str, seconds: float) -> None:
        """Write what a model answered, and nothing of the model."""
        meta = {"weights": weights, "seconds": json.dumps(seconds)}
        meta["answers"] = digest_tensors(answers)
        save_tensors(self.answers(seed), answers, meta)

    def noted(self, seed: int) -> Kept | None:
        """What was noted of a model; None if it must be asked."""
        if not self.answers(seed).exists():
            return None
        try:
            answers, meta = load_tensors(self.answers(seed))
            _check(meta["answers"] == digest_tensors(answers), self.answers(seed))
            return Kept(answers, float(meta["seconds"]), meta["weights"])
        except (CannotRead, KeyError) as why:
            log.warning("%s %d is made again: %s", self.kind, seed, why)
            return None

    def _write(self, seed: int, weights: str, answers: Answers) -> None:
        meta = {"weights": weights, "answers": digest_tensors(answers)}
        save_tensors(self.answers(seed), answers, meta)

    def _read(self, seed: int, weights: str) -> Answers | None:
        if not self.answers(seed).exists():
            return None
        try:
            tensors, meta = load_tensors(self.answers(seed))
            _check(meta["weights"] == weights, self.answers(seed))
            _check(meta["answers"] == digest_tensors(tensors), self.answers(seed))
        except (CannotRead, KeyError) as why:
            log.warning("%s %d is asked again: %s", self.kind, seed, why)
            return None
        return tensors

    @property
    def about(self) -> Path:
        """Where is told what its models were trained on."""
        return self.folder / "about.json"


def trained(recipe: Recipe, part: Part, role: str, seed: int, shelf: Shelf | None) -> nn.Module:
    """Train a fresh model; an interrupted training that has a shelf goes on where it stopped.

    The role keeps seeds apart: no two roles, and no method, draw the same numbers by one seed.
    """
    recipe = untaped(recipe)
    if isinstance(recipe.fit, Fit) and shelf is not None:
        recipe = replace(recipe, fit=replace(recipe.fit, checkpoint=shelf.training(seed)))
    with seeded(stream(role, seed)), torch.enable_grad():
        return recipe.train(part)


def begun(seed: int, shelf: Shelf | None) -> float:
    """Now, by the clock; less the seconds that the training took before it was interrupted.

    A shelf is named by all that makes a run, so what was interrupted there is the same run.
    """
    return time.perf_counter() - (0.0 if shelf is None else spent(shelf.training(seed)))


def loaded(build: Callable[[], nn.Module], path: Path) -> nn.Module:
    """A model from its file, in eval mode."""
    with seeded(0):
        model = build()
    try:
        model.load_state_dict(load_tensors(path)[0])
    except RuntimeError as why:
        raise CannotRead(f"{path} holds the weights of another model") from why
    return model.eval()


def start_of(recipe: Recipe) -> str:
    """Digest of a fresh model: two of one source may differ in their size."""
    with seeded(0):
        return digest_tensors(recipe.build().state_dict())


def making(split: Split, recipe: Recipe, task: Task) -> dict[str, Any]:
    """All that a model hangs on, and its answers, where a recipe and a forget set made it."""
    with seeded(0):  # data with random transforms draw numbers
        train, test = data_digest(split.retain.source), data_digest(split.test.source)
    return {
        "forget": digest_tensors({"ids": split.forget.indices}),
        "train": train,
        "test": test,
        "recipe": recipe.describe(),
        "start": start_of(recipe),
        "task": accounted(task),
    }


def looked_at(validation: Data | None) -> dict[str, str]:
    """What unlearned models hang on besides, where a method may look at data set aside."""
    if validation is None:
        return {}
    with seeded(0):  # as above
        return {"validation": data_digest(validation)}


def numbered(seeds: int | Sequence[int]) -> Sequence[int]:
    """So many seeds, from 0 on, or those that are named, each of them once."""
    numbers = [seeds] if isinstance(seeds, (int, str)) else seeds
    for each in numbers:
        if isinstance(each, bool) or not isinstance(each, Integral) or each < 0:
            raise BadSetting(
                f"seeds cannot be {each!r}", hint="give a count, or whole numbers from 0 on."
            )
    if isinstance(seeds, int):
        return range(seeds)
    if len(set(numbers)) < len(numbers):
        raise BadSetting(
            f"a seed is named twice: {list(numbers)}",
            hint="name every seed once: the same seed trains the same model.",
        )
    return numbers


def digest_of(weights: str, seen: Snapshot) -> str:
    """Digest of a model as it was used: that of its weights, and what they answered."""
    return digest_text(weights, digest_tensors(answers_of(seen)))


def answers_of(seen: Snapshot) -> dict[str, Tensor]:
    """A snapshot as tensors by name, without features."""
    parts: dict[str, Observation] = {part: getattr(seen, part) for part in _PARTS}
    return {
        f"{part}.{name}": getattr(seen, name) for part, seen in parts.items() for name in _FIELDS
    }


def snapshot_of(answers: Answers, task: Task, removed: tuple[int, ...]) -> Snapshot:
    """The snapshot that `answers_of` took apart."""

    def part(name: str) -> Observation:
        ids, logits, labels = (answers[f"{name}.{field}"] for field in _FIELDS)
        return Observation(ids, logits, labels, task.kind)

    return Snapshot(part("forget"), part("retain"), part("test"), removed)


def purge(ids: Tensor, train: str, cache: str | Path) -> list[Path]:
    """Remove from a cache what it holds of these samples of a training set; say which files.

    A model that was trained without them keeps its weights and loses the answers about them. One
    that was trained with them, for another request, goes as a whole.
    """
    removed = []
    for about in sorted(Path(cache).glob("*/about.json")):
        body = told(about)
        if body["train"] != train:
            continue
        innocent = {int(i) for i in ids} <= set(body["forget"])
        patterns = ("*.answers.safetensors", ".*.partial") if innocent else ("*", ".*.partial")
        found = {path for pattern in patterns for path in about.parent.glob(pattern)}
        # What tells whose they are goes last: a purge that was interrupted finds the rest by it.
        ordered = sorted(found, key=lambda path: (path == about, path))
        removed += [path for path in ordered if forget_file(path)]
        if innocent:
            kept = sorted(set(body["forget"]) - {int(i) for i in ids})
            write_json(about, "references", {"train": train, "forget": kept})
    return removed


def told(about: Path) -> dict[str, Any]:
    """Whose models a shelf holds; where nobody can tell, a person must look."""
    try:
        body = read_json(about, "references")
        _check({"train", "forget"} <= {*body}, about)
    except CannotRead as why:
        raise CannotRead(
            why.fact, hint=f"remove {about.parent}, which can be made again, then purge again."
        ) from why
    return body


def _check(sound: bool, path: Path) -> None:  # noqa: FBT001 - reads as a sentence
    if not sound:
        raise CannotRead(f"{path} was changed after it was written")
