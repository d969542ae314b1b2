"""Make shadow models: many of one recipe, each with its own half of a pool, trained and unlearned.

What a single record leaves behind shows only against models that were trained with it and others
that were not; attacks on single samples learn from shadow models what to expect of both. Shadows
that are to tell about unlearning must be unlearned too, by the same method with the same settings,
from requests as large as the one that is judged (Hayes, Shumailov, Triantafillou, Khalifa and
Papernot, Inexact Unlearning Needs More Careful Evaluations, 2024).

Every shadow costs one training run and one unlearning. With a cache nothing is made twice, and
another method takes the same trained models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from expunge.batching import data_digest
from expunge.casting import cast_from, cast_of
from expunge.ensembles import Shadows
from expunge.ensembling import Way
from expunge.method import Method
from expunge.outcome import Outcome
from expunge.playing import Play, Role
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.shelving import Shelf
from expunge.splitting import Data, Part
from expunge.spreading import Executor
from expunge.tasks import Task

SHADOWS = 16
"""How many shadow models are made where nobody says: eight pairs."""


def shadow(  # noqa: PLR0913 - an ensemble hangs on this many things
    recipe: Recipe,
    train: Data,
    *,
    task: Task,
    pool: Sequence[int] | Tensor | None = None,
    unseen: Data | None = None,
    validation: Data | None = None,
    origin: Data | None = None,
    method: Method | None = None,
    count: int = SHADOWS,
    pairs: bool = True,
    seed: int = 0,
    cache: str | Path | None = None,
    way: Way | Executor = "auto",
    progress: Progress = quiet,
) -> Shadows:
    """Train models on halves of a pool, and unlearn these halves.

    Args:
        recipe: How models are made.
        train: What they may be trained on.
        task: How to read batches and answers.
        pool: Positions of the samples that come and go; the others are in every model. None: all.
        unseen: Samples that no model is trained on: what is usual outside. None: there are none.
        validation: Data that the method may look at.
        origin: The training set that these records were taken from, by which `purge` knows the
            cache. None: they are it.
        method: What every model forgets its half with; None: it forgets nothing.
        count: How many models.
        pairs: Whether every second model takes the half that the one before it left over.
        seed: Draws the halves; every model has a chance of its own.
        cache: A folder that keeps models and what they answered, so that an interrupted call goes
            on where it stopped; None keeps the answers in memory only.
        way: How to train an ensemble; see `fit_many`.
        progress: Hears how far it is.
    """
    cast = cast_from(train, pool, unseen, forgets=method is not None)
    if validation is not None:
        cast = replace(cast, validation=Part.whole(validation))
    drawn = cast.draws(count, seed, pairs=pairs)
    play = Play(cast, recipe, task, method, seed, way, progress)
    if cache is not None:
        digests = _digests(train, unseen)
        known = digests if origin is None else _digests(origin, None)
        play = play.kept(cache, digests | {"pairs": pairs}, known["train"])
    return Shadows(play.pool(), play.played("shadow", drawn), _name(method))


def shadow_of(  # noqa: PLR0913 - as above
    outcome: Outcome,
    recipe: Recipe,
    *,
    method: Method | None = None,
    count: int = SHADOWS,
    retrained: int = 0,
    mirror: bool = False,
    seed: int = 0,
    cache: str | Path | None = None,
    way: Way | Executor = "auto",
    progress: Progress = quiet,
) -> Shadows:
    """Train and unlearn models as the outcome came about, with others in place of the forgotten.

    Args:
        outcome: What is to be judged.
        recipe: How its original came to be.
        method: How it was unlearned; None takes the outcome's own.
        count: How many shadow models, in pairs.
        retrained: How many models to train on the retain set alone besides, for the efficacy game.
        mirror: Whether to make one more, with exactly the held-out ones in place of the forgotten.
        seed: Draws the halves; every model has a chance of its own.
        cache: A folder that keeps models and what they answered, so that an interrupted call goes
            on where it stopped; None keeps the answers in memory only.
        way: How to train an ensemble; see `fit_many`.
        progress: Hears how far it is.
    """
    method = outcome.method if method is None else method
    cast = cast_of(outcome.split, outcome.task)
    drawn = cast.draws(count, seed, pairs=True)
    play = Play(cast, recipe, outcome.task, method, seed, way, progress)
    if cache is not None:
        digests = _digests(outcome.split.retain.source, outcome.split.test.source)
        play = play.kept(cache, digests, digests["train"])
    return Shadows(
        play.pool(),
        play.played("shadow", drawn),
        _name(method),
        play.played("retrained", [cast.nobody()] * retrained),
        play.played("mirror", [cast.mirrored()])[0] if mirror else None,
    )


def held(
    outcome: Outcome, recipe: Recipe, cache: str | Path, counts: Mapping[Role, int], seed: int = 0
) -> int:
    """How many models of `shadow_of` a cache holds already, trained; nothing is written."""
    play = Play(cast_of(outcome.split, outcome.task), recipe, outcome.task, None, seed)
    digests = _digests(outcome.split.retain.source, outcome.split.test.source)
    shelf = Shelf.named(cache, "shadow", play.making(digests))
    return sum(
        replace(shelf, kind=role).weights(k).exists()
        for role, count in counts.items()
        for k in range(count)
    )


def _digests(train: Data, unseen: Data | None) -> dict[str, str]:
    with seeded(0):  # data with random transforms draw numbers
        return {
            "train": data_digest(train),
            "unseen": "" if unseen is None else data_digest(unseen),
        }


def _name(method: Method | None) -> str:
    return "" if method is None else method.name
