"""Guesses about an attribute: what is asked, what answers, and what an answer costs.

A guess names a log2-probability for every group, so that its price, the bits that it still needs to
name the true group, can be compared with the price of a bet that saw no features.

To be sure and wrong costs more than many right guesses win back, and one sample that lies far from
all others is enough for that. So guesses are hedged: a share of the bets is mixed into them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log2

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.information import Prior

_SHARES = (0.002, 0.01, 0.05, 0.1, 0.2, 0.5)  # of the bets in a guess
_ROUNDING = 1e-6  # bits; a guess that differs from the bets by less is no guess


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Samples whose attribute is to be guessed, and what is known of them beforehand."""

    x: Float[Tensor, "n d"]
    z: Int[Tensor, " n"]
    bets: Float[Tensor, "n k"]  # log2-probabilities, by the class alone
    inside: Float[Tensor, "n c"]  # a column of zeros and ones for every class

    @classmethod
    def of(
        cls, x: Float[Tensor, "n d"], z: Int[Tensor, " n"], y: Int[Tensor, " n"], prior: Prior
    ) -> "Asked":
        """Features, groups and classes; the prior is that of the samples that probes learn from."""
        x, z, y = x.detach().cpu(), z.cpu(), y.cpu().long()
        return cls(x, z, prior.bets(y), F.one_hot(y, len(prior.counts)).double())

    def __len__(self) -> int:
        return len(self.z)

    def only(self, rows: Bool[Tensor, " n"] | Int[Tensor, " m"]) -> "Asked":
        """Some of them."""
        return Asked(self.x[rows], self.z[rows], self.bets[rows], self.inside[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """What makes features of one size: their means and deviations among the samples learnt from."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]

    @classmethod
    def of(cls, x: Float[Tensor, "n d"]) -> "Standard":
        """Means and deviations; a feature that never changes keeps its size."""
        scale = x.double().std(0, correction=0)
        return cls(x.double().mean(0), torch.where(scale > 0, scale, 1.0))

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The same features, of mean zero and deviation one where they were learnt."""
        return (x.double() - self.mean) / self.scale


Guess = Callable[[Asked], Float[Tensor, "n k"]]
"""Log2-probabilities of every group, for any samples."""


def blind(asked: Asked) -> Float[Tensor, "n k"]:
    """The guess of who sees no features."""
    return asked.bets


def prices(told: Float[Tensor, "n k"], asked: Asked) -> Float[Tensor, " n"]:
    """How many bits every sample's group still costs after it was guessed like this."""
    return -told.double().gather(1, asked.z[:, None].long())[:, 0]


def price(guess: Guess, asked: Asked) -> float:
    """How many bits a guess leaves to pay on average."""
    return prices(guess(asked), asked).mean().item()


def hedge(told: Float[Tensor, "n k"], asked: Asked) -> float:
    """The share of the bets with which a guess costs these samples least."""
    costs = {share: prices(mixed(told, asked, share), asked).mean().item() for share in _SHARES}
    return min(costs, key=lambda share: costs[share])


def mixed(told: Float[Tensor, "n k"], asked: Asked, share: float) -> Float[Tensor, "n k"]:
    """A guess with a share of the bets in it; one that is hardly another becomes the bets."""
    found = torch.logaddexp2(told.double() + log2(1 - share), asked.bets + log2(share))
    apart = (found - asked.bets).abs().amax(1, keepdim=True)
    return torch.where(apart > _ROUNDING, found, asked.bets)


def hedged(guess: Guess, aside: Asked) -> Guess:
    """The guess with as many of the bets in it as are best for samples set aside."""
    share = hedge(guess(aside), aside)
    return lambda asked: mixed(guess(asked), asked, share)
