"""Shuffled columns: keep training while the attribute's columns hold somebody else's answers.

For tables, where an attribute stands among the inputs. In every batch its columns are permuted
among the samples, all of them together, so that they tell nothing about anybody; everything else
about a sample stays in place. A model that is trained so learns to answer without them.

What it can do: end the *use* of the columns. What it cannot: the columns still go in, and features
may carry them along unused; other columns that tell the attribute are used as before, perhaps more;
and nothing is promised after a few epochs. A probe of the features is therefore not expected to
fail. Leave the columns out and train again where that is possible.

It costs one forward and backward pass of the retain set an epoch. BatchNorm and dropout run in
training mode.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import SGD

from expunge.errors import BadSetting, BatchUnreadable, UnknownName
from expunge.method import Case, Method, learning
from expunge.request import Attribute, Target


@dataclass(frozen=True)
class ShuffleAttribute(Method):
    """Keep training with the attribute's columns shuffled, so that answers need them no more."""

    handles: ClassVar[tuple[type[Target], ...]] = (Attribute,)
    half: ClassVar[bool] = True

    columns: tuple[int | str, ...]  # of the inputs: places in a row, or names in a mapping
    epochs: int = 5  # passes over the retain set
    lr: float = 0.05  # learning rate of SGD, constant
    momentum: float = 0.9  # of SGD
    weight_decay: float = 5e-4  # pull of every weight towards zero

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if not self.columns:
            raise BadSetting("columns is empty", hint="name the inputs that hold the attribute.")
        optimizer = SGD(
            learning(model), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )
        model.train()
        case.report.total = self.epochs * len(case.retain)
        for batch in case.retain.epochs(self.epochs):
            inputs = _shuffled(case.task.inputs(batch), self.columns)
            loss = case.task.loss(model, case.task.with_inputs(batch, inputs)).mean()
            case.report.step(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        case.report.note(
            f"trained with {', '.join(map(str, self.columns))} shuffled; not promised: what "
            f"features carry unused, and what other inputs tell of the attribute"
        )
        return model

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "ShuffleAttribute":
        """Shuffle the first column of the contract suite's toy."""
        del folder, model, case
        return cls(columns=(0,))


def _shuffled(inputs: Any, columns: tuple[int | str, ...]) -> Any:
    """The same inputs with these columns of other samples, one other sample for them all."""
    match inputs:
        case Tensor():
            return _mixed(inputs, _places(columns, inputs.shape[1] if inputs.ndim > 1 else 0))
        case Mapping():
            for name in columns:
                if name not in inputs:
                    raise UnknownName("input", str(name), map(str, inputs))
            order = torch.randperm(len(inputs[columns[0]])).to(inputs[columns[0]].device)
            return {k: x[order] if k in columns else x for k, x in inputs.items()}
        case _:
            raise BatchUnreadable(
                f"the inputs are a {type(inputs).__name__}, which has no columns",
                hint="let the task's inputs=... give one tensor of rows, or a mapping.",
            )


def _mixed(x: Tensor, places: Int[Tensor, " k"]) -> Tensor:
    found, order, places = x.clone(), torch.randperm(len(x)).to(x.device), places.to(x.device)
    found[:, places] = x[order][:, places]
    return found


def _places(columns: tuple[int | str, ...], width: int) -> Int[Tensor, " k"]:
    found = [place for place in columns if isinstance(place, int) and 0 <= place < width]
    if len(found) < len(columns):
        raise BadSetting(
            f"columns are {', '.join(map(str, columns))}, and the inputs are rows of {width}",
            hint=f"name columns by their places, from 0 to {width - 1}.",
        )
    return torch.tensor(found)
