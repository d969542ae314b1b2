"""Gradients of single samples by one pass backwards, for layers whose gradient is a product.

A linear layer's gradient is what it is told back times what it heard, sample by sample: so powers
of it, added up over samples, are one product of matrices, and no gradient of a single sample is
ever held. Where products do not add up to the gradient itself, weights are used in other ways too,
and nothing is told. Convolutions are left out: their patches cost more than torch.func takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

_NUMBERS = 2**25  # that gradients of some samples hold at most
_ALIKE = 1e-3  # how far sums may lie from the gradient, as a share of it: they round differently

Sums = dict[str, Float[Tensor, "..."]]
Layers = Mapping[str, nn.Module]


def separable(model: nn.Module) -> Layers | None:
    """The layers that hold all that may learn, by name; None: others hold some of it."""
    layers = {name: layer for name, layer in model.named_modules() if _plain(layer)}
    held = [p for layer in layers.values() for p in layer.parameters(recurse=False)]
    learning = [p for p in model.parameters() if p.requires_grad]
    inside = {id(p) for p in held}
    return layers if len(inside) == len(held) and all(id(p) in inside for p in learning) else None


def singled(
    model: nn.Module, layers: Layers, scores: Callable[[], Float[Tensor, " n"]], power: int
) -> Sums | None:
    """Powers of the gradients of every score, added up; None: they cannot be told apart."""
    ears = {name: _Ear(layer) for name, layer in layers.items()}
    hooks = [layer.register_forward_hook(ears[name]) for name, layer in layers.items()]
    try:
        found = scores()
    finally:
        for hook in hooks:
            hook.remove()
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if found.ndim != 1 or not found.requires_grad:
        return None
    slopes = torch.autograd.grad(found.sum(), [*learning.values()], materialize_grads=True)
    sums: Sums = {}
    for (name, parameter), slope in zip(learning.items(), slopes, strict=True):
        place, _, which = name.rpartition(".")
        own = ears[place].sums(which, power, len(found))
        if own is None:
            return None
        once, powers = own
        if not torch.allclose(once.view_as(slope), slope, rtol=_ALIKE, atol=_ALIKE * _size(slope)):
            return None
        sums[name] = powers.view_as(parameter)
    return sums


def _size(slope: Tensor) -> float:
    return float(slope.abs().max()) + torch.finfo(slope.dtype).tiny


def _plain(layer: nn.Module) -> bool:
    if isinstance(layer, nn.BatchNorm1d):
        return not layer.training and layer.running_mean is not None
    return type(layer) is nn.Linear


@dataclass
class _Ear:
    """What a layer hears of all samples, and what it is told back."""

    layer: nn.Module
    heard: list[Tensor] = field(default_factory=list)
    told: list[Tensor] = field(default_factory=list)

    def __call__(self, _layer: nn.Module, heard: tuple[Tensor, ...], said: Tensor) -> None:
        self.heard.append(heard[0].detach())
        if said.requires_grad:
            said.register_hook(self.told.append)

    def sums(self, which: str, power: int, count: int) -> tuple[Tensor, Tensor] | None:
        """The gradient and the powers; None: it heard something else than these samples, once."""
        if not self.heard:
            nothing = torch.zeros_like(self.layer.get_parameter(which))
            return nothing, nothing
        if len(self.heard) != 1 or len(self.told) != 1:
            return None
        (heard,), (told,) = self.heard, self.told
        if len(heard) != count or len(told) != count:
            return None
        if isinstance(self.layer, nn.BatchNorm1d):
            return None if heard.ndim > 2 else _normal(self.layer, heard, told, which, power)
        return _linear(heard, told, which, power)


def _linear(heard: Tensor, told: Tensor, which: str, power: int) -> tuple[Tensor, Tensor]:
    if heard.ndim > 2:
        heard, told = heard.flatten(1, -2), told.flatten(1, -2)
        if which == "bias":
            return _added(told.sum(1), power)
        return _products(told.transpose(1, 2), heard, power)
    if which == "bias":
        return _added(told, power)
    return told.T @ heard, told.abs().pow(power).T @ heard.abs().pow(power)


def _normal(
    layer: nn.BatchNorm1d, heard: Tensor, told: Tensor, which: str, power: int
) -> tuple[Tensor, Tensor]:
    if which == "weight" and layer.running_mean is not None and layer.running_var is not None:
        told = told * (heard - layer.running_mean) / (layer.running_var + layer.eps).sqrt()
    return _added(told, power)


def _products(
    told: Float[Tensor, "n o l"], heard: Float[Tensor, "n l i"], power: int
) -> tuple[Tensor, Tensor]:
    """One gradient a sample, some at a time."""
    each = max(1, _NUMBERS // (told.shape[1] * heard.shape[2]))
    once = powers = told.new_zeros(told.shape[1], heard.shape[2])
    for some, back in zip(heard.split(each), told.split(each), strict=True):
        slopes = back @ some
        once, powers = once + slopes.sum(0), powers + slopes.abs_().pow_(power).sum(0)
    return once, powers


def _added(slopes: Float[Tensor, "n k"], power: int) -> tuple[Tensor, Tensor]:
    return slopes.sum(0), slopes.abs().pow(power).sum(0)
