"""What a model gives away about coins that decided which records it was trained with.

Every canary got a coin of its own, so how often an attack can guess them is bounded by the privacy
of what made the model; nothing else is assumed, and one run is enough (Steinke, Nasr and Jagielski,
Privacy Auditing with One (1) Training Run, 2023). How many guesses are made is fixed before any
score is seen: to choose it afterwards, or the best of several attacks, voids the level.

Where the request was to forget every canary that had come in, the model should be distributed as
one that never saw any: the reference, which knows no coin. Two bounds speak of how far it is from
that, for the whole request at once. `unlearning_epsilon` goes from one outcome of the coins through
the reference to another, which costs a factor of two; `request_epsilon` compares with the reference
itself, before which all guesses are blind, and with many guesses it says far more.
"""

from math import exp, log

import numpy as np
from jaxtyping import Bool, Float
from scipy import special, stats
from torch import Tensor

from expunge.algebra.searching import edge
from expunge.algebra.statistics import LEVEL, clopper_pearson

_FARTHEST = 100.0  # where the search for an epsilon ends
_RAREST = 1e-300  # no p-value is believed to be smaller


def guesses(canaries: int) -> int:
    """How many guesses to make where nobody says: an even number, about a third of the canaries."""
    return 2 * round(canaries / 6)


def right(scores: Float[Tensor, " m"], coins: Bool[Tensor, " m"], made: int) -> int:
    """How many guesses are right: that the highest half were trained on, and the lowest not."""
    if made % 2 or not 0 <= made <= len(scores):
        raise ValueError(f"of {len(scores)} canaries {made} guesses cannot be made, half each way")
    if not bool(scores.isfinite().all()):
        raise ValueError("scores must be finite")
    order = scores.double().argsort(stable=True)  # ties fall as canaries stand, not as coins fell
    lowest, highest = order[: made // 2], order[len(order) - made // 2 :]
    return int(coins[highest].sum()) + int((~coins[lowest]).sum())


def surprise(
    right: int, made: int, *, epsilon: float, delta: float = 0.0, canaries: int = 0
) -> float:
    """The largest chance of so many right guesses, if what made the model is (ε, δ)-private.

    With a δ it depends on how many canaries there were, guessed or not; one of half a canary's
    share or more could name a canary by itself, and nothing surprises.
    """
    q, leaks = float(special.expit(epsilon)), 2 * canaries * delta
    if leaks >= 1:
        return 1.0
    p = float(stats.binom.sf(right - 1, made, q))
    if leaks > 0 and right > 0:
        fewer = np.arange(1, right + 1)
        nearly = np.cumsum(stats.binom.pmf(right - fewer, made, q))
        p += leaks * float((nearly / fewer).max())
    return min(1.0, p)


def epsilon(
    right: int, made: int, *, delta: float = 0.0, canaries: int = 0, level: float = LEVEL
) -> float:
    """A lower bound of ε for what made the model, from training to unlearning, coin by coin."""
    if delta == 0:
        low = clopper_pearson(right, made, 2 * level - 1).low if made else 0.0
        return log(low / (1 - low)) if low > 0.5 else 0.0

    def refuted(epsilon: float) -> bool:
        found = surprise(right, made, epsilon=epsilon, delta=delta, canaries=canaries)
        return found <= 1 - level

    return edge(refuted, 0.0, _FARTHEST)


def unlearning_epsilon(
    right: int, made: int, *, delta: float = 0.0, canaries: int = 0, level: float = LEVEL
) -> float:
    """A lower bound of ε between unlearned models and those that never saw a canary.

    If both are (ε, δ)-close, the models of any two outcomes of the coins are (2ε, (1 + exp ε)δ)-
    close.
    """

    def refuted(epsilon: float) -> bool:
        both = (1 + exp(epsilon)) * delta
        found = surprise(right, made, epsilon=2 * epsilon, delta=both, canaries=canaries)
        return found <= 1 - level

    return edge(refuted, 0.0, _FARTHEST)


def request_epsilon(p: float, *, delta: float = 0.0, level: float = LEVEL) -> float:
    """A lower bound of ε between both, from any p-value of the coins that holds for every model.

    A model that never saw a canary gives p or less with probability p, one that is (ε, δ)-close to
    it with exp(ε)p + δ at most. The p-value of right guesses is their surprise at ε = 0.
    """
    if delta >= 1 - level:
        return 0.0
    return max(0.0, log(1 - level - delta) - log(max(p, _RAREST)))
