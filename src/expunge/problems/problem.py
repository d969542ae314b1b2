"""What a problem is: all that a request needs to be carried out and audited."""

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from expunge.batching import data_digest
from expunge.fitting import Fit
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.splitting import Data, Part
from expunge.storing import digest_json, load_tensors, save_tensors
from expunge.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Training, test and validation data, how to read them, and how to train on them."""

    train: Data
    test: Data
    validation: Data
    task: Task
    recipe: Recipe

    def trained(self, seed: int = 0, cache: Path | None = None) -> nn.Module:
        """The original: the recipe on all training data; with a cache, never trained twice."""
        if cache is None:
            return self._train(self.recipe, seed)
        kept = cache / f"{self._key()}-{seed}.safetensors"
        if kept.exists():
            with seeded(seed):
                model = self.recipe.build()
            model.load_state_dict(load_tensors(kept)[0])
            return model.eval()
        recipe = self.recipe
        if isinstance(recipe.fit, Fit):
            checkpoint = kept.with_suffix(".training.safetensors")
            recipe = replace(recipe, fit=replace(recipe.fit, checkpoint=checkpoint))
        model = self._train(recipe, seed)
        save_tensors(kept, model.state_dict())
        return model

    def _train(self, recipe: Recipe, seed: int) -> nn.Module:
        with seeded(seed):
            return recipe.train(Part.whole(self.train))

    def _key(self) -> str:
        made = {"recipe": self.recipe.describe(), "train": data_digest(self.train)}
        return f"{self.recipe.name or 'original'}-{digest_json(made)[:16]}"
