"""Gradients of single samples by one pass backwards, for layers whose gradient is a product.

A linear layer's gradient is what it is told back times what it heard, sample by sample: so powers
of it, added up over samples, are one product of matrices, and no gradient of a single sample is
ever held. Where products do not add up to the gradient itself, weights are used in other ways too,
and nothing is told; nor where what is heard is not one row a sample. Convolutions are left out:
their patches cost more than torch.func takes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

_ALIKE = 1e-3  # how far a product may lie from the gradient, as a share of it: they round apart
_HELD = {"weight", "bias"}

Sums = dict[str, Float[Tensor, "..."]]
Layers = Mapping[str, nn.Module]


def separable(model: nn.Module) -> Layers | None:
    """The layers that hold all that may learn, by name; None: others hold some of it."""
    layers = {name: layer for name, layer in model.named_modules() if _plain(layer)}
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    places = [name.rpartition(".")[0] for name in learning]
    return layers if learning and all(place in layers for place in places) else None


def singled(
    model: nn.Module,
    layers: Layers,
    scores: Callable[[], Float[Tensor, " n"]],
    *,
    count: int,
    power: int,
) -> Sums | None:
    """Powers of the gradients of so many scores, added up; None: they cannot be told apart."""
    ears = {name: _Ear(layer) for name, layer in layers.items()}
    hooks = [layer.register_forward_hook(ears[name]) for name, layer in layers.items()]
    try:
        found = scores()
    finally:
        for hook in hooks:
            hook.remove()
    if found.shape != (count,) or not found.requires_grad:
        return None
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    whole, sums = _slopes(found.sum(), learning), {}
    for name, parameter in learning.items():
        place, _, which = name.rpartition(".")
        ear = ears[place]
        if not ear.understood(count, parameter.dtype):
            return None
        powers = ear.powers(which, power)
        if not (_close(ear.slope(which), whole[name]) and bool(powers.isfinite().all())):
            return None
        sums[name] = powers.view_as(parameter)
    return sums


def _slopes(of: Tensor, learning: Mapping[str, Tensor]) -> dict[str, Tensor]:
    held = [*learning.values()]
    found = torch.autograd.grad(of, held, materialize_grads=True)
    return dict(zip(learning, found, strict=True))


def _close(product: Tensor, slope: Tensor) -> bool:
    near = _ALIKE * (float(slope.abs().max()) + torch.finfo(slope.dtype).tiny)
    return bool(torch.allclose(product.view_as(slope), slope, rtol=_ALIKE, atol=near))


def _plain(layer: nn.Module) -> bool:
    if {name for name, _ in layer.named_parameters(recurse=False)} - _HELD:
        return False
    if isinstance(layer, nn.BatchNorm1d):
        return not layer.training and layer.running_mean is not None
    return type(layer) is nn.Linear


@dataclass
class _Ear:
    """What a layer hears of all samples, and what it is told back."""

    layer: nn.Module
    heard: list[Tensor | None] = field(default_factory=list)
    told: list[Tensor] = field(default_factory=list)

    def __call__(self, _layer: nn.Module, heard: tuple[Tensor, ...], said: Tensor) -> None:
        self.heard.append(heard[0].detach() if heard else None)
        if said.requires_grad:
            said.register_hook(self.told.append)

    def understood(self, count: int, dtype: torch.dtype) -> bool:
        """Whether it heard nothing, or one row of every sample, once."""
        rows = [*self.heard, *self.told]
        alike = all(r is not None and r.ndim == 2 and len(r) == count and r.dtype == dtype
                    for r in rows)  # fmt: skip
        return not self.heard or (len(self.heard) == len(self.told) == 1 and alike)

    def slope(self, which: str) -> Tensor:
        """The gradient of all samples together."""
        return self._product(which, lambda rows: rows)

    def powers(self, which: str, power: int) -> Tensor:
        """Those of all samples to this power, added up."""
        return self._product(which, lambda rows: rows.abs().pow(power))

    def _product(self, which: str, of: Callable[[Tensor], Tensor]) -> Tensor:
        heard = self.heard[0] if self.heard else None
        if heard is None:
            return torch.zeros_like(self.layer.get_parameter(which))
        told = of(self.told[0])
        if which == "bias":
            return told.sum(0)
        if isinstance(self.layer, nn.BatchNorm1d):
            return (told * of(self._normal(self.layer, heard))).sum(0)
        return told.T @ of(heard)

    @staticmethod
    def _normal(layer: nn.BatchNorm1d, heard: Tensor) -> Tensor:
        """What a weight of BatchNorm is multiplied by."""
        mean, spread = layer.running_mean, layer.running_var
        if mean is None or spread is None:
            return heard
        return (heard - mean) / (spread + layer.eps).sqrt()
