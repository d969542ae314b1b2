"""Play the parts of a cast: train every model on its half, let it forget that half, and ask it.

What a model answered is kept as soon as it is known, on two shelves: one holds trained models,
which other methods take as well, the other what is left after one method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from expunge.accounting import as_json
from expunge.attack import familiarity, likeliest
from expunge.batching import Batches
from expunge.casting import Cast, labelled
from expunge.ensembles import Pool, Shadow
from expunge.ensembling import Way, fit_many
from expunge.method import Method
from expunge.observing import BATCH, device_of, observe
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.request import describe
from expunge.seeding import seeded, stream
from expunge.shelving import Answers, Kept, Shelf, loaded, looked_at, start_of
from expunge.splitting import Part
from expunge.spreading import Executor, spread
from expunge.storing import digest_tensors
from expunge.tasks import Task
from expunge.unlearning import unlearn

Role = Literal["shadow", "retrained", "mirror"]
Drawn = Sequence[Bool[Tensor, " n"]]


@dataclass(frozen=True, slots=True, eq=False)
class Play:
    """Who plays, by which recipe and method. It has as many fields as a play has ingredients."""

    cast: Cast
    recipe: Recipe
    task: Task
    method: Method | None  # None: nothing is forgotten
    seed: int
    way: Way | Executor = "auto"
    progress: Progress = quiet
    trained: Shelf | None = None  # None: nothing is kept
    forgotten: Shelf | None = None

    def kept(self, cache: str | Path, made: Mapping[str, Any], train: str) -> "Play":
        """The same, with shelves in a cache: their names hang on all that makes the models.

        By the digest of the training set whose people they knew, `purge` finds them.
        """
        cast, trained = self.cast, self.making(made)
        shelf = partial(Shelf.of, cache, "shadow", train=train, unseen=())
        if self.method is None:
            return replace(self, trained=shelf(trained))
        aims = [describe(request.target) for request in cast.whole]
        how = {"method": [self.method.name, self.method.describe(), aims]}
        return replace(
            self,
            trained=shelf(trained),
            forgotten=shelf(trained | how | looked_at(cast.validation)),
        )

    def making(self, made: Mapping[str, Any]) -> dict[str, Any]:
        """All that a trained model hangs on, but for its place in the ensemble."""
        cast = self.cast
        who = {"staying": cast.staying, "leaving": cast.leaving, "asked": cast.asked}
        return {
            **made,
            "who": digest_tensors(who | {"coming": cast.coming}),
            "recipe": self.recipe.describe(),
            "start": start_of(self.recipe),
            "task": as_json(self.task),
            "seed": self.seed,
        }

    def pool(self) -> Pool:
        """Whom every model is asked about."""
        cast = self.cast
        with seeded(0):
            fresh = self.recipe.build()
        first = observe(fresh, Batches(Part(cast.data, cast.asked[:1])), self.task)
        width = tuple(first.logits.shape[1:])
        labels = labelled(Part(cast.data, cast.asked), self.task)
        return Pool(cast.train_ids, cast.test_ids, labels, width, self.task.kind)

    def played(self, role: Role, drawn: Drawn) -> tuple[Shadow, ...]:
        """A model for everyone who was drawn, trained and unlearned; those retrained stay so."""
        before = self._trained(role, drawn)
        after = [kept for _, kept in before]
        if self.method is not None and role != "retrained":
            after = self._forgotten(self.method, role, drawn, before)
        return tuple(
            Shadow(
                drawn[k],
                after[k].answers["scores"],
                kept.answers["scores"],
                after[k].answers["likeliest"],
                k,
                kept.seconds + (0.0 if after[k] is kept else after[k].seconds),
                after[k].weights,
            )
            for k, (_, kept) in enumerate(before)
        )

    def _trained(self, role: Role, drawn: Drawn) -> "list[_Made]":
        shelf = self.trained and replace(self.trained, kind=role)
        made = {k: self._found(k, shelf) for k in range(len(drawn))}
        missing = [k for k, found in made.items() if found is None]
        fitted = fit_many(
            self.recipe,
            [self._known(role, drawn[k]) for k in missing],
            [stream(role, self.seed, k) for k in missing],
            way=self.way,
            progress=lambda _, done, total: self.progress(f"train {role} models", done, total),
        )
        for position, model, seconds in fitted:
            made[missing[position]] = self._keep(missing[position], model, seconds, shelf)
        return [found for found in made.values() if found is not None]

    def _known(self, role: Role, drawn: Bool[Tensor, " n"]) -> Part:
        return self.cast.retained if role == "retrained" else self.cast.known(drawn)

    def _found(self, k: int, shelf: Shelf | None) -> "_Made | None":
        if shelf is None:
            return None
        load = partial(loaded, self.recipe.build, shelf.weights(k))
        kept = shelf.find(k, lambda: asked(load(), self.cast, self.task))
        return None if kept is None else _Made(load, kept)

    def _keep(self, k: int, model: nn.Module, seconds: float, shelf: Shelf | None) -> "_Made":
        answers = asked(model, self.cast, self.task)
        kept = Kept(answers, seconds, digest_tensors(model.state_dict()))
        if shelf is not None:
            shelf.keep(k, model, answers, seconds)
            return _Made(partial(loaded, self.recipe.build, shelf.weights(k)), kept)
        held = nn.Identity() if self.method is None else model  # nobody will ask for it again
        return _Made(partial(_same, held), kept)

    def _forgotten(
        self, method: Method, role: Role, drawn: Drawn, before: "Sequence[_Made]"
    ) -> list[Kept]:
        shelf = self.forgotten and replace(self.forgotten, kind=role)
        found = {k: None if shelf is None else shelf.noted(k) for k in range(len(drawn))}
        missing = [k for k, kept in found.items() if kept is None]
        jobs = [(before[k].load, drawn[k], stream("forget", role, self.seed, k)) for k in missing]
        answers = spread(_Forget(self.cast, self.task, method), jobs, self._place)
        for done, (k, kept) in enumerate(zip(missing, answers, strict=True)):
            self.progress(f"unlearn {role} models", done + 1, len(missing))
            found[k] = kept
            if shelf is not None:
                shelf.note(k, kept.answers, kept.weights, kept.seconds)
        return [kept for kept in found.values() if kept is not None]

    @property
    def _place(self) -> Literal["auto", "loop", "workers"] | Executor:
        """Where models are unlearned: one by one or by processes, for no method does many."""
        if self.way == "vmap" or (self.way == "auto" and torch.cuda.is_available()):
            return "loop"
        return self.way


class _Made(NamedTuple):
    """A trained model, and what was kept of it."""

    load: Callable[[], nn.Module]
    kept: Kept


@dataclass(frozen=True, slots=True, eq=False)
class _Forget:
    """Unlearns one model after another."""

    cast: Cast
    task: Task
    method: Method

    def __call__(self, job: tuple[Callable[[], nn.Module], Bool[Tensor, " n"], int]) -> Kept:
        load, drawn, seed = job
        parts = self.cast.split(drawn)
        outcome = unlearn(load(), parts, self.method, task=self.task, seed=seed)
        answers = asked(outcome.after, self.cast, self.task)
        digest = digest_tensors(outcome.after.state_dict())
        return Kept(answers, outcome.seconds or 0.0, digest)


def asked(model: nn.Module, cast: Cast, task: Task) -> Answers:
    """How well a model knows everybody whom it is asked about."""
    batches = Batches(Part(cast.data, cast.asked), BATCH, device=device_of(model))
    seen = observe(model, batches, task)
    return {"scores": familiarity(seen), "likeliest": likeliest(seen)}


def _same(model: nn.Module) -> nn.Module:
    return model
