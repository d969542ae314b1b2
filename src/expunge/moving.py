"""Move a model's parameters and put them back; its gradients, by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.parameters import Block


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of a loss for every parameter that may learn; zero where it takes no part."""
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, [*learning.values()], materialize_grads=True)
    return dict(zip(learning, found, strict=True))


@contextmanager
def displaced(model: nn.Module, block: Block, step: Float[Tensor, " k"]) -> Iterator[None]:
    """The model a step further on; afterwards every number is back, bit for bit."""
    before = remembered(model)
    try:
        block.move(model, step)
        yield
    finally:
        put_back(model, before)


def remembered(model: nn.Module) -> dict[str, Tensor]:
    """What every parameter is now."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@torch.no_grad()
def put_back(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Give every parameter the value that it had."""
    for name, value in model.named_parameters():
        value.copy_(before[name])
