"""Curvature from how a gradient changes over a small move: one direction, and how much it bends.

`secant` divides the change by the length of the move along it. `Past` is what the published
L-CODEC update does: an outer product of the change over an L1 distance, for which nobody gave a
reason; it is here so that the two can be compared.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.curvature import woodbury
from expunge.algebra.parameters import Block
from expunge.moving import displaced

Gradient = Callable[[], Mapping[str, Tensor]]  # of a loss at the model as it is, by name

_PROBE = 1e-3  # length of a secant's move, as a share of the weights
_STEP = 1e-3  # learning rate of the step of training between two gradients


def secant(model: nn.Module, block: Block, gradient: Gradient) -> Float[Tensor, " k"]:
    """The change of the gradient along itself, over the root of how far it was followed.

    Its outer product is the curvature that was seen: none, where the loss bends down.
    """
    there, here = block.gather(gradient()), block.gather(dict(model.named_parameters())).detach()
    moved = there * (_PROBE * here.norm() / there.norm().clamp_min(1e-30))
    with displaced(model, block, moved):
        change = block.gather(gradient()) - there
    along = change @ moved
    return change / along.sqrt() if along > 0 else torch.zeros_like(change)


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """How a gradient changed over a step of training."""

    change: Mapping[str, Tensor]
    moved: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, gradient: Gradient) -> "Past":
        """Take one small step of training, look at the gradient again, and go back."""
        first = gradient()
        moved = {name: -_STEP * value for name, value in first.items()}
        with _stepped(model, moved):
            second = gradient()
        return cls({name: second[name] - first[name] for name in first}, moved)

    def row(self, block: Block) -> Float[Tensor, " k"]:
        """The vector whose outer product is the published curvature of a block."""
        distance = block.gather(self.moved).abs().sum().clamp_min(1e-30)
        return block.gather(self.change) / distance.sqrt()


def published(
    block: Block,
    pull: Float[Tensor, " k"],
    pasts: tuple[Past, Past],
    *,
    share: float,
    damping: float,
) -> Float[Tensor, " k"]:
    """The published step: the curvature of everybody less that of what leaves, and damped.

    ``share`` is how many leave for each that stays.
    """
    everybody, leaving = (past.row(block) for past in pasts)
    rows = torch.stack([everybody * (1 + share) ** 0.5, leaving * share**0.5])
    signs = torch.tensor([1.0, -1.0], dtype=rows.dtype, device=rows.device)
    return woodbury(rows, pull, damping=damping, signs=signs).x


def _stepped(model: nn.Module, moved: Mapping[str, Tensor]) -> AbstractContextManager[None]:
    whole = Block.whole(model)
    return displaced(model, whole, whole.gather(moved))
