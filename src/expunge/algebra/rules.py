"""All rules of one or two thresholds that tell unlearned models from retrained ones.

A rule looks for one of the two kinds between two scores of a record. With one threshold that is the
kind whose median is larger; with two it is the narrower kind, and the thresholds lie near its ends.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_REACH = 2.0  # how far from its place a threshold is sought, and the width from the range


class Rules(NamedTuple):
    """Between which scores one kind is looked for, and how often that is wrong."""

    lower: Float[Tensor, "n r"]
    upper: Float[Tensor, "n r"]
    suspected: Int[Tensor, "n r"]  # models of the other kind that are there
    missed: Int[Tensor, "n r"]  # models of this kind that are not
    retrained: Bool[Tensor, "n r"]  # whether this kind is the retrained one
    valid: Bool[Tensor, "n r"]


class _Cuts(NamedTuple):
    """All places between two scores of a record, and what lies below them."""

    below: Float[Tensor, "n c"]  # the scores next to it
    above: Float[Tensor, "n c"]
    sought: Int[Tensor, "n c"]
    others: Int[Tensor, "n c"]

    @property
    def lines(self) -> Float[Tensor, "n c"]:
        return (self.below + self.above) / 2

    @property
    def real(self) -> Bool[Tensor, "n c"]:
        """Equal scores cannot be cut apart."""
        return self.below < self.above


def rules(u: Float[Tensor, "k n"], r: Float[Tensor, "k n"]) -> Rules:
    """All rules for unlearned and retrained models; of two that no model tells apart, one."""
    families = _single(u, r), _double(u, r)
    return Rules(*(torch.cat(each, dim=1) for each in zip(*families, strict=True)))


def spread(scores: Float[Tensor, "k n"]) -> Float[Tensor, " n"]:
    """From the lowest score of every record to the highest."""
    return scores.amax(0) - scores.amin(0)


def _single(u: Float[Tensor, "k n"], r: Float[Tensor, "k n"]) -> Rules:
    """The kind with the larger median is looked for above a threshold."""
    retrained = r.quantile(0.5, dim=0) > u.quantile(0.5, dim=0)
    cuts = _cuts(*_sought(retrained, u, r))
    return Rules(
        cuts.lines,
        torch.full_like(cuts.lines, torch.inf),
        len(u) - cuts.others,
        cuts.sought,
        retrained[:, None].expand_as(cuts.lines),
        cuts.real,
    )


def _double(u: Float[Tensor, "k n"], r: Float[Tensor, "k n"]) -> Rules:
    """The narrower kind is looked for between two thresholds that are not far from its ends."""
    retrained = spread(r) < spread(u)
    sought, others = _sought(retrained, u, r)
    cuts = _cuts(sought, others)
    top, width = sought.amax(0)[:, None], spread(sought)[:, None, None]
    first, last = cuts.below.clamp_min(top - _REACH), cuts.above.clamp_max(top + _REACH)
    longest = last[:, None, :] - cuts.below[:, :, None]
    shortest = first[:, None, :] - cuts.above[:, :, None]
    near = (longest >= width - _REACH) & (shortest <= width + _REACH) & (first <= last)[:, None, :]
    real = cuts.real[:, None, :] & cuts.real[:, :, None]
    inside, wrong = (
        (count[:, None, :] - count[:, :, None]).clamp_min(0) for count in (cuts.sought, cuts.others)
    )
    forward = torch.ones(near.shape[1:], dtype=torch.bool).triu(1)
    lower, upper = cuts.lines[:, :, None].expand_as(near), cuts.lines[:, None, :].expand_as(near)
    every = (lower, upper, wrong, len(u) - inside, retrained[:, None, None].expand_as(near))
    return Rules(*(each.flatten(1) for each in (*every, near & real & forward)))


def _cuts(sought: Float[Tensor, "k n"], others: Float[Tensor, "k n"]) -> _Cuts:
    scores, order = torch.cat([sought, others]).mT.sort(1)
    ours = order < len(sought)
    return _Cuts(
        F.pad(scores, (1, 0), value=-torch.inf),
        F.pad(scores, (0, 1), value=torch.inf),
        F.pad(ours.cumsum(1), (1, 0)),
        F.pad((~ours).cumsum(1), (1, 0)),
    )


def _sought(
    retrained: Bool[Tensor, " n"], u: Float[Tensor, "k n"], r: Float[Tensor, "k n"]
) -> tuple[Tensor, Tensor]:
    """The kind that is looked for, record by record, and the other."""
    return torch.where(retrained, r, u), torch.where(retrained, u, r)
