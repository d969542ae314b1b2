"""What models say of a record that they were trained with, and what others say without it.

A side is either of the two. Its numbers are those of the models on it alone: a model on the other
side is left out of every mean, and never counted as a zero.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_LEAST = 1e-12  # of the variance of all scores: less is taken for this much, so all stays finite


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What the models of one side say of every record, and how far they differ on the same one.

    A record that no model of this side speaks of is taken for an average one.
    """

    count: Float[Tensor, " n"]
    mean: Float[Tensor, " n"]
    squares: Float[Tensor, " n"]  # about the mean of the same record, added up
    grand: float  # the mean of all scores
    within: float  # the variance about the mean of the same record, pooled over records
    least: float  # a variance below which none is believed

    @classmethod
    def of(cls, scores: Float[Tensor, "k n"], on: Bool[Tensor, "k n"]) -> "Side":
        """Gather what the models on this side say."""
        scores = scores.double()
        if not bool(scores.isfinite().all()):
            raise ValueError("scores must be finite")
        if not bool(on.any()):
            raise ValueError("no model is on this side of any record")
        count, mean, all_of_it = on.sum(0).double(), masked_mean(scores, on), scores[on]
        squares = torch.where(on, (scores - mean).square(), 0.0).sum(0)
        least = _LEAST * (scores.var(correction=0).item() or 1.0)
        side = cls(count, mean, squares, all_of_it.mean().item(), 0.0, least)
        free = side.free
        within = squares.sum().item() / free if free else all_of_it.var(correction=0).item()
        return replace(side, within=max(within, least))

    @property
    def free(self) -> int:
        """How many scores tell of differences between models: all but one for every record."""
        return int((self.count - 1).clamp_min(0).sum())

    @property
    def between(self) -> float:
        """How much records differ in truth, without what their few models each add."""
        known = self.count > 0
        seen = self.mean[known].var(correction=0).item()
        return max(self.least, seen - self.within * (1 / self.count[known]).mean().item())


def sides(scores: Float[Tensor, "k n"], trained: Bool[Tensor, "k n"]) -> tuple[Side, Side]:
    """The models that were trained with each record, and those that were not.

    One model a record does not show how far models differ. The other side may; if it has no more
    than one either, both sides of the same record do, whose difference varies twice as much.
    """
    inside, outside = Side.of(scores, trained), Side.of(scores, ~trained)
    if inside.free and outside.free:
        return inside, outside
    if inside.free or outside.free:
        within = (inside if inside.free else outside).within
    else:
        both = (inside.count > 0) & (outside.count > 0)
        apart = (inside.mean - outside.mean)[both]
        within = apart.var().item() / 2 if len(apart) > 1 else inside.within
    within = max(within, inside.least)
    return replace(inside, within=within), replace(outside, within=within)


def masked_mean(scores: Float[Tensor, "k n"], on: Bool[Tensor, "k n"]) -> Float[Tensor, " n"]:
    """Mean of what counts in every column; where nothing does, the mean of all that counts."""
    count = on.sum(0)
    mean = torch.where(on, scores, 0.0).sum(0) / count.clamp_min(1)
    return torch.where(count > 0, mean, scores[on].mean())
