"""What a problem is: all that a request needs to be carried out and audited."""

from dataclasses import dataclass

from torch import nn

from expunge.recipe import Recipe
from expunge.splitting import Data, Part
from expunge.tasks import Task
from expunge.unlearning import seeded


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Training, test and validation data, how to read them, and how to train on them."""

    train: Data
    test: Data
    validation: Data
    task: Task
    recipe: Recipe

    def trained(self, seed: int = 0) -> nn.Module:
        """The original: the recipe on all training data."""
        with seeded(seed):
            return self.recipe.train(Part.whole(self.train))
