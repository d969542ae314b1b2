"""How a model came to be: build it, fit it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from expunge.accounting import accounted, digest_source
from expunge.errors import BrokenPromise
from expunge.storing import digest_json


@dataclass(frozen=True, slots=True)
class Recipe:
    """Make a fresh model and train it; what a reference or a shadow is made with."""

    build: Callable[[], nn.Module]
    fit: Callable[[nn.Module, Dataset[Any]], nn.Module]
    name: str = ""

    def train(self, dataset: Dataset[Any], device: torch.device | None = None) -> nn.Module:
        """A fresh model, trained on a dataset, in eval mode; None trains where it was built."""
        fresh = self.build() if device is None else self.build().to(device)
        trained = self.fit(fresh, dataset)
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
    """A digest that changes when the function, its settings, or the file around it does.

    The file: a function may call another one beside it, or read a number that stands there. What
    it leans on elsewhere is told by its ground.
    """
    told = accounted(function)
    if hasattr(function, "describe"):
        return digest_json(told)
    return digest_json([told, digest_source(function), _files_of(function)])


def _files_of(function: Callable[..., Any]) -> str:
    """What stands in its file; of a partial also in those of functions that it was given."""
    if isinstance(function, partial):
        given = [*function.args, *function.keywords.values()]
        return "".join(map(_files_of, [function.func, *filter(callable, given)]))
    try:
        named = inspect.isclass(function) or hasattr(function, "__code__")
        path = inspect.getsourcefile(function if named else type(function))
    except TypeError:  # built in
        return ""
    return Path(path).read_text(encoding="utf-8") if path and Path(path).is_file() else ""
