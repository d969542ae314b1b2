"""Exact tests: how often would as much be seen, if chance had fallen otherwise?

Chance is drawn again as it was drawn before, so nothing is assumed about the numbers themselves.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from expunge.algebra.resampling import portions

Side = Literal["two", "greater"]

DRAWS = 9999
_EXACT = 16  # pairs: up to so many every choice of signs is tried
_ROUNDING = 1e-12  # of what was seen; as much, but added up in another order, is as much


class Surprise(NamedTuple):
    """What was seen, and how often chance alone shows as much."""

    seen: float
    p: float


def sign_flip(differences: Float[Tensor, " n"], *, draws: int = DRAWS, seed: int = 0) -> Surprise:
    """Whether paired differences have a mean of zero: each might have had the other sign.

    Both ways, exact up to 16 pairs. With fewer than six p is never below 0.05.
    """
    x = differences.double()
    seen = x.mean().abs().item()
    if len(x) <= _EXACT:
        ups = torch.arange(2 ** len(x))[:, None] >> torch.arange(len(x)) & 1
        as_much = _as_much(_flipped(x, ups), seen)
        return Surprise(x.mean().item(), as_much / len(ups))
    generator = torch.Generator().manual_seed(seed)
    as_much = sum(
        _as_much(_flipped(x, torch.randint(2, (rows, len(x)), generator=generator)), seen)
        for rows in portions(draws, len(x))
    )
    return Surprise(x.mean().item(), (1 + as_much) / (1 + draws))


def fresh_coins(
    scores: Float[Tensor, "a m"],
    coins: Bool[Tensor, " m"],
    *,
    side: Side = "two",
    draws: int = DRAWS,
    seed: int = 0,
) -> Surprise:
    """Whether any of several attacks sees the coins that decided who was trained on.

    What was seen is the largest AUC of them, less one half; with "two", also of an attack whose
    scores are low for members. The largest is compared with the largest under coins that were
    tossed again: it holds for any attacks together, however they and the canaries depend on each
    other.
    """
    if not bool(scores.isfinite().all()):
        raise ValueError("scores must be finite")
    ranks = torch.from_numpy(stats.rankdata(scores.double().numpy(), axis=1))
    seen = _largest(ranks, coins[None], side).item()
    generator = torch.Generator().manual_seed(seed)
    as_much = 0
    for rows in portions(draws, len(coins)):
        tossed = torch.randint(2, (rows, len(coins)), generator=generator) == 1
        as_much += _as_much(_largest(ranks, tossed, side), seen)
    return Surprise(seen, (1 + as_much) / (1 + draws))


def _flipped(x: Float[Tensor, " n"], ups: Tensor) -> Float[Tensor, " b"]:
    return ((2 * ups - 1).double() @ x / len(x)).abs()


def _largest(
    ranks: Float[Tensor, "a m"], coins: Bool[Tensor, "b m"], side: Side
) -> Float[Tensor, " b"]:
    """The largest AUC above one half of any attack, for every row of coins."""
    inside = coins.sum(1, keepdim=True).double()
    pairs = inside * (coins.shape[1] - inside)
    beaten = coins.double() @ ranks.mT - inside * (inside + 1) / 2
    above = torch.where(pairs > 0, beaten / pairs.clamp_min(1) - 0.5, 0.0)
    return (above.abs() if side == "two" else above).amax(1)


def _as_much(found: Float[Tensor, " b"], seen: float) -> int:
    return int((found >= seen - _ROUNDING * (1 + abs(seen))).sum())
