"""Decoders: what is left of the inputs in features, besides the attribute that is to go.

A decoder is told the attribute, so that features need not hold it for the decoder's sake. Pictures
are asked for in at most 16 by 16 pixels, other inputs as rows of at most 1,024 numbers; where
inputs hold no floating-point numbers, words say, there is nothing to be asked for.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_SIDE, _LENGTH = 16, 1024
_WIDTH, _PLANES = 256, 12


def wanted(inputs: Any) -> Float[Tensor, "n *m"] | None:
    """What is to be decoded, about its mean, in units of its deviation; None: nothing can be."""
    found = [x.flatten(1) if x.ndim != 4 else x for x in _numbers(inputs)]
    if not found or len(found[0]) < 2:
        return None
    pictures = len(found) == 1 and found[0].ndim == 4
    x = _small(found[0]) if pictures else _short(torch.cat([x.flatten(1) for x in found], 1))
    x = x.detach() - x.detach().mean(0)
    return x / x.square().mean().sqrt().clamp_min(1e-12)


def decoder(features: Float[Tensor, "n *d"], told: int, target: Float[Tensor, "n *m"]) -> nn.Module:
    """A decoder from such features, and so many numbers that it is told, to such a target."""
    if features.ndim == 4 and target.ndim == 4:
        return _Planes(features.shape[1] + told, target.shape[1:]).to(features.device)
    return _Rows(features[0].numel() + told, target.shape[1:]).to(features.device)


def missed(
    by: nn.Module, features: Float[Tensor, "n *d"], told: Float[Tensor, "n e"], target: Tensor
) -> Float[Tensor, ""]:
    """Which share of the target's variance a decoder does not find."""
    found: Tensor = by(features.float(), told)
    return F.mse_loss(found, target.float())


class _Rows(nn.Module):
    """A hidden layer, from rows to anything."""

    def __init__(self, inputs: int, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape
        self.body = nn.Sequential(
            nn.Linear(inputs, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, shape.numel())
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        found: Tensor = self.body(torch.cat([x.flatten(1), told], 1))
        return found.view(-1, *self.shape)


class _Planes(nn.Module):
    """Two convolutions, from maps of features to pictures; what is told is the same everywhere."""

    def __init__(self, inputs: int, shape: torch.Size) -> None:
        super().__init__()
        self.side = shape[1:]
        self.body = nn.Sequential(
            nn.Conv2d(inputs, _PLANES, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_PLANES, shape[0], 3, padding=1),
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        x = F.interpolate(x, self.side, mode="bilinear", align_corners=False)
        planes = told[:, :, None, None].expand(-1, -1, *self.side)
        found: Tensor = self.body(torch.cat([x, planes], 1))
        return found


def _numbers(inputs: Any) -> list[Tensor]:
    match inputs:
        case Tensor():
            return [inputs] if inputs.is_floating_point() and inputs.ndim > 1 else []
        case Mapping():
            return [x for value in inputs.values() for x in _numbers(value)]
        case tuple() | list():
            return [x for value in inputs for x in _numbers(value)]
        case _:
            return []


def _small(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c i j"]:
    height, width = (min(side, _SIDE) for side in x.shape[2:])
    return F.adaptive_avg_pool2d(x, (height, width))


def _short(x: Float[Tensor, "n m"]) -> Float[Tensor, "n l"]:
    return F.adaptive_avg_pool1d(x, _LENGTH) if x.shape[1] > _LENGTH else x
