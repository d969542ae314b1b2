"""How a model came to be: build it, fit it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from expunge.errors import BrokenPromise
from expunge.storing import as_json, digest_json, digest_text


@dataclass(frozen=True, slots=True)
class Recipe:
    """Make a fresh model and train it; what a reference or a shadow is made with."""

    build: Callable[[], nn.Module]
    fit: Callable[[nn.Module, Dataset[Any]], nn.Module]
    name: str = ""

    def train(self, dataset: Dataset[Any]) -> nn.Module:
        """A fresh model, trained on a dataset, in eval mode."""
        trained = self.fit(self.build(), dataset)
        if not isinstance(trained, nn.Module):
            raise BrokenPromise(
                f"the recipe's fit returned {type(trained).__name__} instead of the trained model",
                hint="end it with `return model`.",
            )
        return trained.eval()

    def describe(self) -> dict[str, str]:
        """What tells this recipe from another: its name, and its settings or source."""
        return {"name": self.name, "build": _account(self.build), "fit": _account(self.fit)}


def _account(function: Callable[..., Any]) -> str:
    settings = getattr(function, "describe", None)
    if callable(settings):
        return digest_json(as_json(settings()))
    try:
        return digest_text(inspect.getsource(function))
    except (OSError, TypeError):  # defined in a shell, or a partial: its repr is all there is
        return repr(function)
