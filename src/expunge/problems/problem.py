"""What a problem is: all that a request needs to be carried out and audited."""

from dataclasses import dataclass

from torch import nn
from torch.utils.data import Dataset

from expunge.recipe import Recipe
from expunge.tasks import Task
from expunge.unlearning import seeded


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Training, test and validation data, how to read them, and how to train on them."""

    train: Dataset[object]
    test: Dataset[object]
    validation: Dataset[object]
    task: Task
    recipe: Recipe

    def trained(self, seed: int = 0) -> nn.Module:
        """The original: the recipe on all training data."""
        with seeded(seed):
            return self.recipe.fit(self.recipe.build(), self.train).eval()
