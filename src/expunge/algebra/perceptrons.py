"""Small networks that guess an attribute: several trained at once, each stopped at its best.

The networks differ in where they start and in the order of their samples, and lie side by side in
one tensor. Like softmax regression they start from given bets: their last layer is zero, so that a
network which learns nothing that holds for other samples is stopped where it began.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Adam

from expunge.algebra.guessing import Asked, Standard

Layers = list[Float[Tensor, "s _ _"]]
"""Weights and biases of every layer in turn, a slice for every network."""

_BATCH = 256
_STEPS = 20  # at least so many before the next look at the samples set aside
_PATIENCE = 6  # looks that are hardly better than the best before a network is given up
_WORTH = 1e-3  # nats
_PACE = 1e-3
_FEW = 4  # classes


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """Networks on standardised features and classes, whose probabilities are averaged."""

    standard: Standard
    layers: Layers

    def __call__(self, asked: Asked) -> Float[Tensor, "n k"]:
        """Log2 of their mean probabilities."""
        told = self.each(asked)
        return (told.logsumexp(0) - log(len(told))) / log(2)

    def each(self, asked: Asked) -> Float[Tensor, "s n k"]:
        """Log-probabilities by every network."""
        with torch.no_grad():
            x = self.read(asked).expand(len(self.layers[0]), -1, -1)
            return (_forward(self.layers, x) + _logits(asked)).double().log_softmax(2)

    def read(self, asked: Asked) -> Float[Tensor, "n e"]:
        """What goes in: features, classes, and with few of these a copy of the features for each.

        What one class shows by a feature and another by its opposite is hard to learn otherwise.
        """
        x, inside = self.standard(asked.x).float(), asked.inside.float()
        if not 1 < inside.shape[1] <= _FEW:
            return torch.cat([x, inside], 1)
        copies = inside[:, :, None] * x[:, None, :]
        return torch.cat([x, inside, copies.flatten(1)], 1)

    def losses(self, asked: Asked) -> Float[Tensor, " s"]:
        """The mean log-loss of every network."""
        return -self.each(asked)[:, torch.arange(len(asked)), asked.z].mean(1)


def fit(asked: Asked, aside: Asked, *, width: int, copies: int, rounds: int = 60) -> Networks:
    """Train two hidden layers on some samples, and keep what guesses best those set aside.

    A round is a pass, or twenty steps where that is more, and ends with a look at the others.
    """
    generator = torch.Generator().manual_seed(0)
    bare = Networks(Standard.of(asked.x), [])
    x, bets, z = bare.read(asked), _logits(asked), asked.z.long()
    sizes = [x.shape[1], width, width, bets.shape[1]]
    networks = replace(bare, layers=_fresh(sizes, copies, generator))
    optimizer = Adam(networks.layers, lr=_PACE, fused=True)
    kept = [layer.detach().clone() for layer in networks.layers]
    least, waited = networks.losses(aside), torch.zeros(copies)
    for _ in range(rounds):
        draws = (max(_STEPS, len(asked) // _BATCH), copies, _BATCH)
        for rows in torch.randint(len(asked), draws, generator=generator):
            optimizer.zero_grad()
            _loss(_forward(networks.layers, x[rows]) + bets[rows], z[rows]).backward()
            optimizer.step()
        now = networks.losses(aside)
        better = now < least
        kept = [
            torch.where(better[:, None, None], new.detach(), old)
            for new, old in zip(networks.layers, kept, strict=True)
        ]
        waited = torch.where(now < least - _WORTH, 0.0, waited + 1)
        least = torch.minimum(now, least)
        if bool((waited >= _PATIENCE).all()):
            break
    return replace(networks, layers=kept)


def _fresh(sizes: Sequence[int], copies: int, generator: torch.Generator) -> Layers:
    """Layers that do not know anything yet."""
    layers: Layers = []
    for inputs, outputs in pairwise(sizes):
        weight = torch.randn(copies, inputs, outputs, generator=generator) * (2 / inputs) ** 0.5
        layers += [weight, torch.zeros(copies, 1, outputs)]
    layers[-2].zero_()
    return [layer.requires_grad_() for layer in layers]


def _forward(layers: Sequence[Tensor], x: Float[Tensor, "s n e"]) -> Float[Tensor, "s n k"]:
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = torch.baddbmm(bias, x, weight).relu()
    return torch.baddbmm(layers[-1], x, layers[-2])


def _logits(asked: Asked) -> Float[Tensor, "n k"]:
    return asked.bets.float() * log(2)


def _loss(logits: Float[Tensor, "s n k"], z: Int[Tensor, "s n"]) -> Float[Tensor, ""]:
    """The networks' mean log-losses, added up: none has a slope in another's."""
    told = logits.log_softmax(2)
    return -told.gather(2, z[:, :, None]).mean((1, 2)).sum()
