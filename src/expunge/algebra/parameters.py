"""All parameters of a model as one vector, and back."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def flat(model: nn.Module) -> Float[Tensor, " p"]:
    """Every parameter, end to end, in double precision."""
    parts = [value.detach().double().flatten() for value in model.parameters()]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.double)


def distance(a: nn.Module, b: nn.Module) -> float:
    """Euclidean distance between the parameters of two models of one shape."""
    return float((flat(a).cpu() - flat(b).cpu()).norm())
