"""Several models side by side: every tensor has one row a model, and one operation serves them all.

Each row answers and learns what it would by itself. Buffers that a pass changes would leak from one
model to the next, and chance that is drawn within a pass, as dropout draws it, cannot be shared
out; such models do not stack. Torch tells some of them. Of others, which keep a weight where torch
does not look or draw by other means, only a trial beside one lone model can tell.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from expunge.errors import ExpungeError
from expunge.tasks import Batch, Task

NOT_STACKED = (
    RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError, ExpungeError
)  # fmt: skip
"""What is raised where something cannot be done for many models at once."""


class _Asked(nn.Module):
    """A model of which anything can be asked while its parameters are others."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, question: Callable[[nn.Module], Tensor]) -> Tensor:
        return question(self.model)


class Stack(NamedTuple):
    """Parameters of several models, those that learn and those that stay; and who asks them.

    Matrices rest transposed, because that is how they are multiplied: else every step would copy
    their gradients once.
    """

    learning: dict[str, Tensor]
    staying: dict[str, Tensor]
    asked: _Asked
    task: Task

    @classmethod
    def of(cls, models: Sequence[nn.Module], task: Task) -> "Stack":
        """Models of one shape, in training mode; the first one's passes are everybody's."""
        learning, staying = {}, {}
        for name, first in models[0].named_parameters():
            rows = torch.stack([_turned(m.get_parameter(name).detach(), 2) for m in models])
            if first.requires_grad:
                learning[name] = rows.contiguous().requires_grad_()
            else:
                staying[name] = rows
        return cls(learning, staying, _Asked(models[0].train()), task)

    def losses(self, batch: Batch, weights: Float[Tensor, "k b"]) -> Float[Tensor, " k"]:
        """The weighted loss of every model on its own rows of a batch."""

        def one(parameters: dict[str, Tensor], batch: Batch, weights: Tensor) -> Any:
            def question(model: nn.Module) -> Tensor:
                return (self.task.loss(model, batch) * weights).sum()

            return functional_call(self.asked, parameters, (question,))

        losses: Tensor = _for_all(one)(self._rows, batch, weights)
        return losses

    @torch.no_grad()
    def logits(self, batch: Batch) -> Float[Tensor, "k n *c"]:
        """What every model answers to the same batch."""

        def one(parameters: dict[str, Tensor]) -> Any:
            def question(model: nn.Module) -> Tensor:
                return self.task.answer(model, batch).logits

            return functional_call(self.asked, parameters, (question,))

        logits: Tensor = _for_all(one)(self._rows)
        return logits

    @torch.no_grad()
    def apart(self, models: Sequence[nn.Module]) -> list[nn.Module]:
        """Give every model its own row."""
        for name, rows in self.learning.items():
            for model, row in zip(models, _turned(rows, 3), strict=True):
                model.get_parameter(name).copy_(row)
        return [model.eval() for model in models]

    @property
    def _rows(self) -> dict[str, Tensor]:
        return {f"model.{n}": _turned(v, 3) for n, v in (self.learning | self.staying).items()}


def _for_all(one: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same for every model; that torch does a part of it one by one is no news to a user."""

    def every(*rows: Any) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            found: Tensor = vmap(one)(*rows)
        return found

    return every


def _turned(value: Tensor, axes: int) -> Tensor:
    """Transpose what has so many axes: a matrix has two, a stack of matrices three."""
    return value.mT if value.ndim == axes else value
