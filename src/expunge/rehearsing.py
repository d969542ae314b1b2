"""Rehearse a whole pipeline: train, unlearn, and guess by the toss of coins who was forgotten.

Every canary has a coin of its own. Those whose coin says so are trained on with everybody else and
then forgotten on request; the others never come near. Then attacks guess which were which. The
coins are known, and independent of all that an attack saw, so that the test is exact whatever the
canaries are, and one training run is enough (Steinke, Nasr and Jagielski, Privacy Auditing with One
(1) Training Run, 2023). What is judged is the way of training and of unlearning with these
settings, not a model that is already out there.

Before anything is trained, the coins, the number of guesses and the attacks are pledged: their hash
is written down, and what it hides is told at the end, so that anybody can check that nothing was
chosen afterwards.

It costs one training run and one unlearning. With shadow models, which are trained and unlearned
with other coins, an attack learns what to expect of every single canary; each of them costs as much
again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from expunge.accounting import as_json
from expunge.algebra.likelihoods import student_ratio
from expunge.attack import familiarity
from expunge.batching import Batches, data_digest
from expunge.ensembles import Shadows
from expunge.errors import BadSetting, TargetMismatch
from expunge.method import Method
from expunge.observing import BATCH, device_of, observe
from expunge.planting import Canaries, joined, set_aside, taken
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.rehearsal import Pledge, Rehearsal, Scores
from expunge.request import Request, Samples
from expunge.seeding import seeded
from expunge.shadowing import shadow
from expunge.shelving import Answers, Shelf, begun, loaded, looked_at, start_of, trained
from expunge.splitting import Data, Part, split
from expunge.storing import write_json
from expunge.tasks import Task
from expunge.unlearning import unlearn

__all__ = ["CANARIES", "Pledge", "Rehearsal", "rehearse"]

log = logging.getLogger("expunge")

CANARIES = 300
"""How many records a rehearsal sets aside where nobody says."""

FEWEST = 20
"""Ten in each of two arms: with fewer in an arm, not even perfect guesses accuse."""


def rehearse(  # noqa: PLR0913 - a pipeline has this many parts
    recipe: Recipe,
    data: Data,
    method: Method,
    *,
    task: Task,
    canaries: int | Canaries = CANARIES,
    shadows: int = 0,
    validation: Data | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: Progress = quiet,
) -> Rehearsal:
    """Train with canaries, forget them, and let attacks guess which they were.

    Args:
        recipe: How models are trained.
        data: What they are trained on.
        method: How they unlearn.
        task: How to read batches and answers.
        canaries: How many records of the data to set aside, half of them under a wrong label; or
            canaries of one's own, which stand beside the data.
        shadows: How many shadow models to make for an attack on single canaries: an even number.
        validation: Data that the method may look at.
        seed: Tosses the coins, chooses canaries, and seeds training and unlearning, each by itself.
        cache: A folder that keeps the pledge, models and scores: an interrupted training goes on
            where it stopped, and nothing is done twice. None keeps them in memory only.
        progress: Hears how far the rehearsal is.
    """
    if Samples not in method.handles:
        raise TargetMismatch(
            f"{type(method).__name__} removes no single samples, so it cannot forget canaries",
            hint="run `expunge methods` to see which method handles what.",
        )
    classes = task.kind == "classification"
    base, planted = (
        set_aside(data, canaries, seed, wrong=classes)
        if isinstance(canaries, int)
        else (data, canaries)
    )
    made = _made(recipe, base, planted, method, task) | {"seed": seed, "shadows": shadows}
    attacks = ("phi" if classes else "loss",)
    pledge = Pledge.of(
        planted, made | looked_at(validation), ("ulira", *attacks) if shadows else attacks
    )
    if not pledge.tossed.any():
        raise BadSetting(
            f"of {len(planted)} canaries none is trained on: all their coins fell the other way",
            hint=f"rehearse with {FEWEST} at least; {CANARIES} are usual.",
        )
    stage = _Stage(recipe, base, planted, method, task, validation, pledge, seed)
    return stage.played(data, cache, progress)


def _made(
    recipe: Recipe, base: Data, planted: Canaries, method: Method, task: Task
) -> dict[str, Any]:
    """All that a rehearsal hangs on, as JSON."""
    with seeded(0):  # data with random transforms draw numbers
        digests = {"base": data_digest(base), "canaries": data_digest(planted.data)}
    return {
        **digests,
        "recipe": recipe.describe(),
        "start": start_of(recipe),
        "method": [method.name, method.describe()],
        "task": as_json(task),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """Everything that a rehearsal is made of, as many things as there are."""

    recipe: Recipe
    base: Data
    planted: Canaries
    method: Method
    task: Task
    validation: Data | None
    pledge: Pledge
    seed: int

    def played(self, data: Data, cache: str | Path | None, progress: Progress) -> Rehearsal:
        """Pledge, train, forget, ask."""
        shelf, commitment = None, self.pledge.commitment
        if cache is not None:
            with seeded(0):  # as above
                train = data_digest(data)
            shelf = Shelf.of(cache, "rehearsed", commitment, train=train, unseen=())
            write_json(shelf.folder / "pledge.json", "pledge", {"commitment": commitment})
        log.info("pledged before the rehearsal: %s", commitment)
        progress("rehearse", 0, 2)
        known = joined(self.base, taken(self.planted.data, self.pledge.tossed.nonzero().flatten()))
        before = self._one("original", shelf, partial(self._original, known, shelf))
        progress("rehearse", 1, 2)
        after = self._one("unlearned", shelf, partial(self._unlearned, known, before, progress))
        progress("rehearse", 2, 2)
        others = self._shadows(data, cache, progress)
        scores, then = (self._judged(one, others) for one in (after, before))
        spent = before.seconds + after.seconds + (0.0 if others is None else others.seconds)
        return Rehearsal(self.pledge, scores, then, spent)

    def _shadows(self, data: Data, cache: str | Path | None, progress: Progress) -> Shadows | None:
        """Models that were trained with other canaries, and forgot these."""
        count, size = int(self.pledge.made["shadows"]), len(self.base)
        if not count:
            return None
        return shadow(
            self.recipe,
            joined(self.base, self.planted.data),
            task=self.task,
            pool=range(size, size + len(self.planted)),
            validation=self.validation,
            origin=data,
            method=self.method,
            count=count,
            seed=self.seed,
            cache=cache,
            progress=progress,
        )

    def _judged(self, played: "_Played", others: Shadows | None) -> Scores:
        """What each attack believes of every canary."""
        known = played.answers["known"]
        told = {self.pledge.attacks[-1]: known}
        if others is None:
            return told
        return {"ulira": student_ratio(others.scores, others.trained, known), **told}

    def _original(self, known: Data, shelf: Shelf | None) -> nn.Module:
        return trained(self.recipe, Part.whole(known), "rehearsal", self.seed, shelf)

    def _unlearned(self, known: Data, before: "_Played", progress: Progress) -> nn.Module:
        """The method sees the canaries that came in, as anybody's request, and no others."""
        gone = Samples(tuple(range(len(self.base), len(known))))
        parts = split(known, Request(gone, id="canaries"), test=known, validation=self.validation)
        outcome = unlearn(
            before.load(), parts, self.method, task=self.task, seed=self.seed, progress=progress
        )
        return outcome.after

    def _one(self, kind: str, shelf: Shelf | None, make: Callable[[], nn.Module]) -> "_Played":
        """A model and its answers: found on the shelf, or made now and put there."""
        shelf = shelf and replace(shelf, kind=kind)
        if shelf is not None:
            load = partial(loaded, self.recipe.build, shelf.weights(self.seed))
            found = shelf.find(self.seed, lambda: self._asked(load()))
            if found is not None:
                return _Played(load, found.answers, found.seconds)
        started = begun(self.seed, shelf)
        model = make()
        seconds, answers = time.perf_counter() - started, self._asked(model)
        if shelf is not None:
            shelf.keep(self.seed, model, answers, seconds)
        return _Played(lambda: model, answers, seconds)

    def _asked(self, model: nn.Module) -> Answers:
        """How well a model knows every canary."""
        batches = Batches(Part.whole(self.planted.data), BATCH, device=device_of(model))
        seen = observe(model, batches, self.task)
        return {"known": familiarity(seen)}


@dataclass(frozen=True, slots=True, eq=False)
class _Played:
    """One model of a rehearsal."""

    load: Callable[[], nn.Module]
    answers: Answers
    seconds: float
