"""The units of a network: what each says about a sample, and the weights behind it.

A unit is one output of a linear layer or one channel of a convolution. What it says is one number
a sample: the mean over space or tokens, before any nonlinearity. Behind it lie one row of the
layer's weight and one number of its bias.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from expunge.algebra import affine
from expunge.algebra.affine import Affine
from expunge.algebra.parameters import Block
from expunge.errors import MissingInput, ModelDoesNotFit


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer or a convolution, by name: each of its outputs is a unit."""

    name: str
    shape: tuple[int, ...]  # of its weight, a row a unit
    bias: bool  # whether it has one that may change

    def positions(self, rows: Int[Tensor, " u"]) -> dict[str, Int[Tensor, " _"]]:
        """Where the numbers behind these units lie: in the weight first, then in the bias."""
        own, width = f"{self.name}." if self.name else "", prod(self.shape[1:])
        found = {f"{own}weight": (rows[:, None] * width + torch.arange(width)).flatten()}
        return found | {f"{own}bias": rows} if self.bias else found


@dataclass(frozen=True, slots=True)
class Units:
    """The units that may change, numbered layer by layer in the order of registration."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ModelDoesNotFit(
                "no linear layer or convolution that may learn answers sample by sample",
                hint="units are outputs of nn.Linear, nn.Conv1d and nn.Conv2d that the model calls "
                "as modules, with the samples in the first axis and requires_grad on the weight.",
            )

    @classmethod
    def of(cls, model: nn.Module) -> "Units":
        """Every candidate: layers whose weight may learn and belongs to no other module.

        A bias that is frozen or shared is left alone. A layer whose class computes something of
        its own is none, since its weight may mean anything.
        """
        owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
        layers = []
        for name, module in model.named_modules():
            own = {
                key: tuple(value.shape)
                for key, value in module.named_parameters(recurse=False)
                if value.requires_grad and owners[id(value)] == 1
            }
            if affine.is_affine(module) and "weight" in own:
                layers.append(Layer(name, own["weight"], "bias" in own))
        return cls(tuple(layers))

    def heard(self, model: nn.Module, ask: Callable[[], Float[Tensor, "n *_"]]) -> "Units":
        """Those that speak for every sample when ``ask`` puts some to the model.

        Others take no part in the forward pass, are used without being called, or have another
        first axis than the samples, of which there should not be as many as tokens.
        """
        with torch.no_grad(), watched(model, self) as calls:
            samples = len(ask())
        return Units(tuple(layer for layer in self.layers if calls.counts(layer) == {samples}))

    def __len__(self) -> int:
        return sum(layer.shape[0] for layer in self.layers)

    def name(self, unit: int) -> str:
        """The layer, and which of its outputs."""
        ((layer, rows),) = self.parted([unit])
        return f"{layer.name}[{int(rows)}]"

    def block(self, chosen: Sequence[int]) -> Block:
        """The parameters behind these units; in whatever order they come, the block is the same."""
        places: dict[str, Int[Tensor, " _"]] = {}
        for layer, rows in self.parted(chosen):
            places |= layer.positions(rows)
        return Block(places)

    def parted(self, chosen: Sequence[int]) -> list[tuple[Layer, Int[Tensor, " _"]]]:
        """The layers of these units, each with which of its outputs were chosen."""
        left, found, start = sorted(set(chosen)), [], 0
        if left and not 0 <= left[0] <= left[-1] < len(self):
            raise IndexError(f"units are numbered from 0 to {len(self) - 1}")
        for layer in self.layers:
            end = start + layer.shape[0]
            rows = [unit - start for unit in left if start <= unit < end]
            if rows:
                found.append((layer, torch.tensor(rows)))
            start = end
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One run of a layer: what it said about every sample, and the way back to it."""

    module: Affine
    means: Float[Tensor, "n u"]  # of no sample, where the layer was not given a batch
    x: Tensor | None  # what went in; None: no gradient comes back
    edge: GradientEdge | None

    def gradients(
        self, slopes: Sequence[Tensor], rows: Int[Tensor, " u"], *, bias: bool
    ) -> Float[Tensor, "n c k"]:
        """What every sample's numbers ask of the weights behind some outputs."""
        if slopes and self.x is not None:
            return affine.gradients(self.module, self.x, slopes, rows, bias=bias)
        weight = self.module.weight
        size = len(rows) * (weight[0].numel() + bias)
        return weight.new_zeros(len(self.means), 1, size, dtype=affine.exact(weight))


class Calls:
    """What watched units say in one forward pass."""

    def __init__(self, units: Units) -> None:
        """Listen to these units."""
        self._units = units
        self._calls: dict[Layer, list[Call]] = {layer: [] for layer in units.layers}

    def hear(
        self, layer: Layer, module: Affine, args: Any, named: Mapping[str, Any], out: Tensor
    ) -> Tensor | None:
        """Remember a run; give back a copy where what follows could cut the way back to it."""
        means = affine.means(module, out.detach())
        if not out.requires_grad:
            self._calls[layer].append(Call(module, means, None, None))
            return None
        x = args[0] if args else named["input"]
        self._calls[layer].append(Call(module, means, x.detach(), get_gradient_edge(out)))
        # Overwriting an output leads past its edge if it is a view, as that of a linear layer on
        # tokens is; every other edge holds.
        return out.clone() if out._is_view() else None  # noqa: SLF001 - no public name

    def counts(self, layer: Layer) -> set[int]:
        """Of how many samples a layer spoke: one number, unless its runs differ."""
        return {len(call.means) for call in self._calls[layer]}

    def activations(self) -> Float[Tensor, "n p"]:
        """A row a sample and a column a unit; a layer that ran several times says its mean."""
        samples = max(set().union(*map(self.counts, self._units.layers)), default=0)
        runs = [[call.means for call in self._of(one, samples)] for one in self._units.layers]
        return torch.cat([torch.stack(means).mean(0).float() for means in runs], 1)

    @torch.no_grad()
    def gradients(
        self, of: Float[Tensor, "n *c"], chosen: Sequence[int]
    ) -> Float[Tensor, "n *c k"]:
        """How every sample's own numbers, one or several, change with the weights behind units.

        The last axis has the order of ``units.block(chosen)``. One backward pass a number serves
        all samples: it is right as long as no sample changes what another is answered, as in
        evaluation mode. The graph is kept.
        """
        if not of.requires_grad:
            raise MissingInput(
                "the numbers to differentiate carry no gradient",
                hint="run the model with gradients on.",
            )
        parts = self._units.parted(chosen)
        runs = [self._of(layer, len(of)) for layer, _ in parts]
        with torch.enable_grad():
            numbers = of.reshape(len(of), -1).unbind(1)
        slopes = _slopes(numbers, [call for calls in runs for call in calls])
        found = []
        with torch.autocast(of.device.type, enabled=False):
            for (layer, rows), calls in zip(parts, runs, strict=True):
                asked = [call.gradients(slopes[call], rows, bias=layer.bias) for call in calls]
                found.append(sum(asked[1:], asked[0]).expand(-1, len(numbers), -1))
        return torch.cat(found, 2).view(*of.shape, -1) if found else of.new_zeros(*of.shape, 0)

    def _of(self, layer: Layer, samples: int) -> list[Call]:
        """The runs of a layer, if it spoke for every sample."""
        counts = self.counts(layer)
        if samples and counts == {samples}:
            return self._calls[layer]
        told = " and ".join(map(str, sorted(counts))) or "none"
        raise ModelDoesNotFit(
            f"the layer {layer.name!r} spoke for {told} of {samples} samples",
            hint="keep the units that speak for every sample: units.heard(model, ...).",
        )


@contextmanager
def watched(model: nn.Module, units: Units) -> Iterator[Calls]:
    """Listen to units while the model runs; afterwards nothing is left in it."""
    calls, handles = Calls(units), []
    try:
        for layer in units.layers:
            module, hear = model.get_submodule(layer.name), partial(calls.hear, layer)
            handles.append(module.register_forward_hook(hear, prepend=True, with_kwargs=True))
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _slopes(
    numbers: Sequence[Float[Tensor, " n"]], calls: Sequence[Call]
) -> dict[Call, list[Tensor]]:
    """How each number changes with what layers gave, run by run; nothing where none does."""
    asked = {call: call.edge for call in calls if call.edge is not None}
    found: dict[Call, list[Tensor | None]] = {call: [] for call in calls}
    for number in numbers if asked else ():
        slopes = torch.autograd.grad(
            number, [*asked.values()], torch.ones_like(number), retain_graph=True,
            allow_unused=True,
        )  # fmt: skip
        for call, slope in zip(asked, slopes, strict=True):
            found[call].append(slope)
    return {call: _filled(slopes) for call, slopes in found.items()}


def _filled(slopes: Sequence[Tensor | None]) -> list[Tensor]:
    """Zeros where a number does not change, unless none does."""
    there = [slope for slope in slopes if slope is not None]
    return [torch.zeros_like(there[0]) if s is None else s for s in slopes] if there else []
