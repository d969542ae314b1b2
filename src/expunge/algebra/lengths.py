"""Lengths of steps that are chosen together, by a loss that only some samples tell."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import LBFGS

_ROUNDS = 20

Lengths = Float[Tensor, " c"]


def best(loss: Callable[[Lengths], Float[Tensor, ""]], begins: Lengths) -> Lengths:
    """Where the loss is least, if from zero it begins with this slope and bends as it does.

    A loss over few samples errs most in its slope: that of all samples takes its place.
    """
    zero = torch.zeros_like(begins).requires_grad_()
    amiss = begins - torch.autograd.grad(loss(zero), zero)[0]
    lengths = torch.ones_like(begins).requires_grad_()
    search = LBFGS([lengths], max_iter=_ROUNDS, line_search_fn="strong_wolfe")

    def left() -> Float[Tensor, ""]:
        search.zero_grad()
        found = loss(lengths) + amiss @ lengths
        found.backward()
        return found

    with torch.enable_grad():
        search.step(left)
    return lengths.detach()
