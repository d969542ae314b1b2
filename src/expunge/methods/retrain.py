"""Retraining without the forget set: exact, dear, and the yardstick for all else.

It costs what training costs: every retained sample once forward and backward an epoch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import SGD
from torch.utils.data import Dataset

from expunge.fitting import untaped
from expunge.method import Case, Method
from expunge.observing import device_of
from expunge.recipe import Recipe


@dataclass(frozen=True)
class Retrain(Method):
    """Train a fresh model on the retain set, by the recipe of the original."""

    recipe: Recipe  # how to build a fresh model and train it

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        return untaped(self.recipe).train(case.retain.part, device_of(model))

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "Retrain":
        """Retrain the contract suite's toy for one epoch of plain descent."""
        del folder
        from copy import deepcopy  # noqa: PLC0415 - only the contract suite needs it

        def fit(fresh: nn.Module, dataset: Dataset[Any]) -> nn.Module:
            del dataset
            optimizer = SGD(fresh.parameters(), lr=0.1)
            for batch in case.retain:
                loss = case.task.loss(fresh, batch).mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            return fresh

        return cls(Recipe(lambda: deepcopy(model), fit, name="example"))
