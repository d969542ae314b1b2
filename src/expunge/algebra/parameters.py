"""A model's parameters: all of them as one vector, or some of them as a block."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some of a model's numbers, in one fixed order: where they lie in each parameter, by name.

    Positions count as if every parameter were laid out row by row, however it lies in memory, and
    none comes twice. A tied parameter goes by one name alone, as in ``model.named_parameters()``.
    """

    positions: Mapping[str, Int[Tensor, " _"]]

    def __len__(self) -> int:
        return sum(len(where) for where in self.positions.values())

    @classmethod
    def whole(cls, model: nn.Module) -> "Block":
        """Every parameter that may learn."""
        learning = {
            name: torch.arange(value.numel(), device=value.device)
            for name, value in model.named_parameters()
            if value.requires_grad and value.is_floating_point()
        }
        return cls(learning)

    def gather(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " k"]:
        """The block's numbers, picked from tensors as large as the parameters."""
        parts = [tensors[name].flatten().index_select(0, at) for name, at in self._places(tensors)]
        return torch.cat(parts)

    def scatter(
        self, vector: Float[Tensor, " k"], like: Mapping[str, Tensor]
    ) -> dict[str, Float[Tensor, "..."]]:
        """Tensors as large as the parameters: the vector in the block's places, zeros elsewhere."""
        pieces = zip(self._places(like), self._pieces(vector), strict=True)
        return {
            name: torch.zeros_like(like[name]).put_(at, piece.to(like[name]))
            for (name, at), piece in pieces
        }

    @torch.no_grad()
    def move(self, model: nn.Module, step: Float[Tensor, " k"]) -> None:
        """Add a step to the block's numbers, in place; every other number keeps all its bits."""
        parameters = {name: model.get_parameter(name) for name in self.positions}
        for (name, at), piece in zip(self._places(parameters), self._pieces(step), strict=True):
            target = parameters[name]
            target.put_(at, piece.to(target), accumulate=True)

    def _places(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Int[Tensor, " _"]]]:
        for name, at in self.positions.items():
            yield name, at.to(tensors[name].device)

    def _pieces(self, vector: Float[Tensor, " k"]) -> tuple[Float[Tensor, " _"], ...]:
        pieces: tuple[Tensor, ...] = vector.split([len(at) for at in self.positions.values()])
        return pieces


def flat(model: nn.Module) -> Float[Tensor, " p"]:
    """Every parameter, end to end, in double precision."""
    parts = [value.detach().double().flatten() for value in model.parameters()]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.double)


def distance(a: nn.Module, b: nn.Module) -> float:
    """Euclidean distance between the parameters of two models of one shape."""
    return float((flat(a).cpu() - flat(b).cpu()).norm())
