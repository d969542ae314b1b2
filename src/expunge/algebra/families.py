"""Families of probes: ways to guess an attribute from features, each as well as it can.

A probe learns from some samples; whatever is to be chosen, how strong a penalty, how many
neighbours, when to stop, is chosen by its price on samples set aside. What it is then worth must be
asked of a third set. Not to look at the features is a choice that every probe has, so that a probe
is worse than the bets of who knows the class alone by chance only.

The classes are known to every probe. What it gains is what features tell beyond them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.guessing import Asked, Guess, Standard, blind, hedged, price, prices
from expunge.algebra.perceptrons import fit
from expunge.algebra.softmax import solutions

Family = Callable[[Asked, Asked], Guess]
"""Learns from the first samples, and chooses by the second."""

_STRENGTHS = range(-4, 5)  # penalties as powers of ten, divided by the number of samples
_ENOUGH = 100  # samples to choose by, for hyperplanes that are a class's own
_PATIENCE = 3  # weaker penalties that make it worse before none is tried any more
_NEIGHBOURS = (1, 4, 16, 64)
_IMAGINED = (1.0, 4.0, 16.0)  # neighbours that are as the bets say, beside the real ones
_BLENDS = (0.01, 0.1, 0.3)  # shares of the bets
_FAR = 1e6  # puts samples of different classes farther apart than any of one class
_CHUNK = 1024  # rows whose distances to all others are held at once


def linear(known: Asked, aside: Asked) -> Guess:
    """A hyperplane for every group; in a class where that is better, hyperplanes of its own.

    Small classes share theirs: what looks best of many for a few samples is so by luck.
    """
    everywhere = _straight(known, aside)
    if known.inside.shape[1] < 2:
        return hedged(everywhere, aside)
    chosen = []
    for inside, others in zip(known.inside.mT.bool(), aside.inside.mT.bool(), strict=True):
        mine = aside.only(others)
        own = _straight(known.only(inside), mine) if len(mine) >= _ENOUGH else everywhere
        better = len(mine) > 0 and price(own, mine) < price(everywhere, mine)
        chosen.append(own if better else everywhere)
    return hedged(partial(_class_by_class, chosen), aside)


def networks(known: Asked, aside: Asked, width: int = 256, copies: int = 3) -> Guess:
    """The mean of several small networks with two hidden layers."""
    return hedged(fit(known, aside, width=width, copies=copies), aside)


def neighbours(known: Asked, aside: Asked) -> Guess:
    """The groups of the samples that lie nearest, with some imagined as the bets say."""
    space = _Space(known, Standard.of(known.x))
    seen = space.votes(aside)
    costs = {
        (k, more): prices(_counted(seen, k, aside, more), aside).mean().item()
        for k, more in product(_NEIGHBOURS, _IMAGINED)
        if k <= seen.shape[1]
    }
    k, more = min(costs, key=lambda each: costs[each])
    if costs[k, more] >= price(blind, aside):
        return blind
    return lambda asked: _counted(space.votes(asked), k, asked, more)


def boosted(known: Asked, aside: Asked, stages: int = 100) -> Guess:
    """Decision trees, each mending what those before it miss, and a share of the bets."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - it is heavy

    if len(known.z.unique()) < 2:
        return blind
    trees = HistGradientBoostingClassifier(
        max_iter=stages, max_leaf_nodes=15, early_stopping=False, random_state=0
    ).fit(_table(known), known.z.numpy())
    groups = torch.from_numpy(trees.classes_)

    def grown(asked: Asked) -> Iterator[Tensor]:
        """What the trees say, with one of them, with two, and so on."""
        return map(torch.from_numpy, trees.staged_predict_proba(_table(asked)))

    costs = {
        (stage, share): prices(_blended(told, groups, aside, share), aside).mean().item()
        for stage, told in enumerate(grown(aside))
        for share in _BLENDS
    }
    stage, share = min(costs, key=lambda each: costs[each])
    if costs[stage, share] >= price(blind, aside):
        return blind
    return lambda asked: _blended(next(islice(grown(asked), stage, None)), groups, asked, share)


FAMILIES: Mapping[str, Family] = {
    "linear": linear,
    "MLP": networks,
    "k-NN": neighbours,
    "boosted trees": boosted,
}
"""Every family, by the name that reports use."""


def _straight(known: Asked, aside: Asked) -> Guess:
    """Hyperplanes with the penalty that is best for the samples set aside."""
    if not len(known) or not len(aside):
        return blind
    chosen, least, worse = blind, price(blind, aside), 0
    for found in solutions(known, (10.0**-power / len(known) for power in _STRENGTHS)):
        now = price(found, aside)
        worse = 0 if now < least else worse + 1
        if now < least:
            chosen, least = found, now
        if worse == _PATIENCE:
            break
    return chosen


def _class_by_class(guesses: Sequence[Guess], asked: Asked) -> Float[Tensor, "n k"]:
    told = torch.empty_like(asked.bets)
    for guess, inside in zip(guesses, asked.inside.mT.bool(), strict=True):
        told[inside] = guess(asked.only(inside))
    return told


@dataclass(frozen=True, slots=True, eq=False)
class _Space:
    """Where the known samples lie: those of other classes far away."""

    known: Asked
    standard: Standard

    def votes(self, asked: Asked) -> Float[Tensor, "n m k"]:
        """How often each group stands among the nearest, the two nearest, and so on."""
        groups = F.one_hot(self.known.z.long(), self.known.bets.shape[1]).double()
        rows = torch.arange(len(asked)).split(_CHUNK)
        return groups[torch.cat([self.nearest(asked.only(some)) for some in rows])].cumsum(1)

    def nearest(self, asked: Asked) -> Int[Tensor, "n m"]:
        there, here = (self.standard(each.x).float() for each in (self.known, asked))
        other = 1 - asked.inside @ self.known.inside.mT
        most = min(max(_NEIGHBOURS), len(there))
        return (torch.cdist(here, there) + _FAR * other).topk(most, largest=False).indices


def _counted(
    votes: Float[Tensor, "n m k"], k: int, asked: Asked, more: float
) -> Float[Tensor, "n k"]:
    return ((votes[:, k - 1] + more * asked.bets.exp2()) / (k + more)).log2()


def _blended(
    told: Float[Tensor, "n g"], groups: Int[Tensor, " g"], asked: Asked, share: float
) -> Float[Tensor, "n k"]:
    """What trees say of the groups that they know, and bets of all."""
    found = share * asked.bets.exp2()
    found[:, groups] += (1 - share) * told
    return found.log2()


def _table(asked: Asked) -> NDArray[np.float64]:
    table: NDArray[np.float64] = torch.cat([asked.x.double(), asked.inside], 1).numpy()
    return table
