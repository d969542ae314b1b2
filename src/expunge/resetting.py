"""Make layers untrained again: every weight is drawn anew, as its layer does at first."""

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def reset(modules: Iterable[nn.Module]) -> list[str]:
    """Draw all weights that are these modules' own; BatchNorm forgets its statistics.

    Returns the weights that no layer knows how to draw: their numbers were shuffled, which leaves
    their scale and takes away whatever they had learnt.
    """
    drawn, shuffled = set[int](), dict[int, str]()
    modules = [*dict.fromkeys(modules)]
    for module in modules:
        fresh = getattr(module, "reset_parameters", None)
        if callable(fresh):
            fresh()
            drawn |= {id(p) for p in module.parameters(recurse=False)}
    for module in modules:
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in drawn | shuffled.keys():
                order = torch.randperm(parameter.numel()).to(parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
                shuffled[id(parameter)] = f"{type(module).__name__}.{name}"
    return [*shuffled.values()]
