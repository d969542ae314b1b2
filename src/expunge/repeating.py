"""Do the same unlearning again, to originals that were trained with other seeds.

One unlearned model cannot tell what its method does on average: chance has a part in training and
in unlearning. Many of them stand beside many retrained ones, as in the metrics ``klom`` and
``challenge``. Every original is trained once and kept, whatever is unlearned from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.method import Method
from expunge.observing import snapshot
from expunge.outcome import Outcome
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.request import describe
from expunge.shelving import (
    Shelf,
    answers_of,
    digest_of,
    loaded,
    looked_at,
    making,
    numbered,
    snapshot_of,
    trained,
)
from expunge.splitting import Part
from expunge.storing import digest_tensors
from expunge.unlearning import unlearn

_OF_ORIGINALS = ("train", "recipe", "start")  # what they hang on, and no request does


def repeat(
    outcome: Outcome,
    recipe: Recipe,
    *,
    seeds: int | Sequence[int] = 32,
    cache: str | Path | None = None,
    progress: Progress = quiet,
) -> References:
    """Train originals, and unlearn each as in ``outcome``, once a seed; with a cache, never twice.

    Args:
        outcome: Whose forget set, method and settings are taken.
        recipe: How the original came to be.
        seeds: How many times, or with which seeds.
        cache: A folder that keeps models and answers; None keeps them in memory only.
        progress: Hears how far it is.
    """
    if outcome.method is None:
        raise MissingInput(
            "somebody else unlearned this model, and did not say how, so it cannot be repeated",
            hint="use the outcome of expunge.unlearn(...).",
        )
    numbers, again = numbered(seeds), _Again.of(outcome, outcome.method, recipe, cache)
    members = []
    for done, seed in enumerate(numbers):
        progress("repeat", done, len(numbers))
        members.append(again.found(seed) or again.made(seed))
    progress("repeat", len(numbers), len(numbers))
    return References(tuple(members))


@dataclass(frozen=True, slots=True, eq=False)
class _Again:
    """What is done again, and where it is kept; None where it is not."""

    outcome: Outcome
    method: Method
    recipe: Recipe
    originals: Shelf | None
    repeats: Shelf | None

    @classmethod
    def of(
        cls, outcome: Outcome, method: Method, recipe: Recipe, cache: str | Path | None
    ) -> "_Again":
        if cache is None:
            return cls(outcome, method, recipe, None, None)
        made = making(outcome.split, recipe, outcome.task)
        first = {name: made[name] for name in _OF_ORIGINALS}
        how = {
            "method": method.name,
            "settings": method.describe(),
            "aims": [describe(target) for target in outcome.split.targets],
        } | looked_at(outcome.split.validation)
        shelf = partial(Shelf.of, cache, train=made["train"], unseen=())  # they saw everybody
        return cls(outcome, method, recipe, shelf("original", first), shelf("repeat", made | how))

    def found(self, seed: int) -> Reference | None:
        """What is kept of it."""
        if self.repeats is None:
            return None
        load, outcome = self._lender(seed, self.repeats), self.outcome
        kept = self.repeats.find(
            seed, lambda: answers_of(snapshot(load(), outcome.split, outcome.task))
        )
        if kept is None:
            return None
        seen = snapshot_of(kept.answers, outcome.task, outcome.split.removed)
        return Reference(load, seen, seed, kept.seconds, digest_of(kept.weights, seen))

    def made(self, seed: int) -> Reference:
        """Done anew, and kept."""
        found = self._unlearned(seed)
        model, seconds = found.after, found.seconds or 0.0
        seen = snapshot(model, self.outcome.split, self.outcome.task)
        digest = digest_of(digest_tensors(model.state_dict()), seen)
        if self.repeats is None:
            return Reference(lambda: model, seen, seed, seconds, digest)
        self.repeats.keep(seed, model, answers_of(seen), seconds)
        return Reference(self._lender(seed, self.repeats), seen, seed, seconds, digest)

    def _lender(self, seed: int, shelf: Shelf) -> Callable[[], nn.Module]:
        """A file has only weights: what a method adds to a model it must add again."""
        if self.method.reshapes:
            return lambda: self._unlearned(seed).after
        return partial(loaded, self.recipe.build, shelf.weights(seed))

    def _unlearned(self, seed: int) -> Outcome:
        outcome = self.outcome
        return unlearn(
            self._original(seed), outcome.split, self.method, task=outcome.task, seed=seed
        )

    def _original(self, seed: int) -> nn.Module:
        shelf, split = self.originals, self.outcome.split
        if shelf is not None and shelf.find(seed, dict) is not None:
            return loaded(self.recipe.build, shelf.weights(seed))
        everybody = torch.cat([split.forget.indices, split.retain.indices]).sort().values
        part = Part(split.retain.source, everybody)
        model = trained(self.recipe, part, "original", seed, shelf)
        if shelf is not None:
            shelf.keep(seed, model, {}, 0.0)
        return model
