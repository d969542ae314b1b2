"""How many members an attack catches where it may suspect hardly anybody else.

A score above a threshold names a member. What an attack does at its best threshold is biased
upwards if that was found on the same samples; so either the rate of false positives fixes the
threshold, or other samples do.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.resampling import DRAWS, Statistic, clustered, stratified
from expunge.algebra.statistics import Interval, clopper_pearson, minus

SUPPORT = 5
"""Non-members that a rate of false positives must let through, for a threshold to stand on them."""

_ROUNDING = 1e-9  # of a sample; a hundredth of 700 is seven, whatever floats say


@dataclass(frozen=True, slots=True)
class Operating:
    """The members caught at a rate of false positives, and the rate that it was in truth."""

    asked: float
    at: float  # what was asked, or the smallest rate that so many non-members support
    threshold: float
    tpr: Interval
    fpr: Interval
    word: Literal["ok", "insufficient_n"]  # the second where another rate had to be taken


def tpr_at(
    member: Float[Tensor, " m"],
    nonmember: Float[Tensor, " n"],
    fpr: float,
    *,
    models: tuple[Int[Tensor, " m"], Int[Tensor, " n"]] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Operating:
    """True positives above the lowest threshold with no more false positives than this.

    The threshold varies too, so the interval is that of resamples, and never narrower than the
    exact one at this threshold. Samples of one target model share its fate: where ``models`` tells
    whose they are, models are resampled. The upper end of the realised rate is exact for a
    threshold that was found in this way.
    """
    x, y = member.double(), nonmember.double()
    if not (bool(x.isfinite().all()) and bool(y.isfinite().all())):
        raise ValueError("scores must be finite")
    at = max(fpr, min(1.0, SUPPORT / len(y)))
    allowed = int(at * len(y) + _ROUNDING)
    line = y.sort(descending=True).values[allowed].item() if allowed < len(y) else -inf
    exact = clopper_pearson(int((x > line).sum()), len(x))
    if models is None:
        drawn = stratified(_caught(x, y, at), len(x), len(y), draws=draws, seed=seed)
    else:
        drawn = clustered(_caught(x, y, at), *models, draws=draws, seed=seed)
    return Operating(
        asked=fpr,
        at=at,
        threshold=line,
        tpr=Interval(exact.value, min(drawn.low, exact.low), max(drawn.high, exact.high)),
        fpr=clopper_pearson(int((y > line).sum()), len(y)),
        word="ok" if at == fpr else "insufficient_n",
    )


def advantage(
    member: Float[Tensor, " m"], nonmember: Float[Tensor, " n"], *, folds: int = 5, seed: int = 0
) -> Interval:
    """True less false positive rate, each fold above the best threshold of all other folds.

    The best threshold of the samples themselves would have an advantage where there is none. The
    balanced accuracy is half of one more.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = (
        scores.double()[torch.randperm(len(scores), generator=generator)]
        for scores in (member, nonmember)
    )
    caught = suspected = 0
    for fold in range(folds):
        (own, rest), (others, away) = (_fold(scores, fold, folds) for scores in (x, y))
        line = _best(rest, away)
        caught += int((own > line).sum())
        suspected += int((others > line).sum())
    return minus(clopper_pearson(caught, len(x)), clopper_pearson(suspected, len(y)))


def _caught(x: Float[Tensor, " m"], y: Float[Tensor, " n"], at: float) -> Statistic:
    """The same rate for samples that count as often as their weights say."""
    (x, of_x), (y, of_y) = x.sort(descending=True), y.sort(descending=True)
    above = F.pad(torch.searchsorted(-x, -y), (0, 1), value=len(x))

    def statistic(member: Tensor, nonmember: Tensor) -> Tensor:
        suspected = nonmember[:, of_y].cumsum(1)
        allowed = (at * suspected[:, -1:] + _ROUNDING).floor()
        line = (suspected <= allowed).sum(1)
        caught = F.pad(member[:, of_x].cumsum(1), (1, 0))
        return caught.gather(1, above[line][:, None])[:, 0] / caught[:, -1].clamp_min(1)

    return statistic


def _fold(scores: Float[Tensor, " n"], fold: int, folds: int) -> tuple[Tensor, Tensor]:
    """What is in a fold, and what is not."""
    here = torch.arange(len(scores)) % folds == fold
    return scores[here], scores[~here]


def _best(x: Float[Tensor, " m"], y: Float[Tensor, " n"]) -> float:
    """The threshold that leaves most members and fewest others above it, midway between scores."""
    scores, order = torch.cat([x, y]).sort(descending=True)
    gains = torch.cat([torch.ones_like(x) / len(x), -torch.ones_like(y) / len(y)])[order].cumsum(0)
    gains = gains[:-1].masked_fill(scores[:-1] == scores[1:], -inf)  # equal scores stay together
    if len(gains) == 0 or gains.max() <= 0:
        return inf
    best = int(gains.argmax())
    return scores[best : best + 2].mean().item()
