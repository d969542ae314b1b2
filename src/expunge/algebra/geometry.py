"""Where embeddings lie: the mean of every class, and distances between points."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Metric = Literal["cosine", "euclidean"]

_SMALLEST = 1e-12  # keeps the direction of a zero vector defined
_RIDGE = 0.1  # of the features' mean spread
_CHUNK = 128  # rows whose distances to all others are held at once


class Means:
    """Means of groups of vectors, gathered batch by batch in full precision."""

    def __init__(self, groups: int) -> None:
        """Start with nothing in any group."""
        self.counts = torch.zeros(groups, dtype=torch.long)
        self._sums: Tensor | None = None

    def add(self, x: Float[Tensor, "n d"], group: Int[Tensor, " n"]) -> None:
        """Count these vectors, each into its group."""
        if self._sums is None:
            self._sums = torch.zeros(len(self.counts), x.shape[1], device=x.device)
            self.counts = self.counts.to(x.device)
        self._sums.index_add_(0, group, x.float())
        self.counts += group.bincount(minlength=len(self.counts))

    @property
    def values(self) -> Float[Tensor, "k d"]:
        """One mean a group; a group without vectors has none, and says so by not-a-number."""
        if self._sums is None:
            return torch.zeros(len(self.counts), 0)
        return self._sums / self.counts[:, None]


def centroids(
    x: Float[Tensor, "n d"], group: Int[Tensor, " n"], groups: int
) -> Float[Tensor, "k d"]:
    """The mean of every group of vectors that are all at hand."""
    means = Means(groups)
    means.add(x, group)
    return means.values


def cosine_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """One less the cosine of the angle between every row of one and every row of the other."""
    return 1 - F.normalize(x, eps=_SMALLEST) @ F.normalize(y, eps=_SMALLEST).T


def euclidean_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """The length of the difference of every row of one and every row of the other."""
    return torch.cdist(x, y)


def cosine_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The same, row by row."""
    return 1 - F.cosine_similarity(x, y, dim=1, eps=_SMALLEST)


def euclidean_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The same, row by row; its slope is finite where both coincide."""
    return ((x - y).square().sum(1) + _SMALLEST).sqrt()


PAIRWISE: dict[Metric, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_distances,
    "euclidean": euclidean_distances,
}
"""Distances between all pairs, by the name that settings use."""

ROWWISE: dict[Metric, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_distance,
    "euclidean": euclidean_distance,
}
"""Distances between rows of the same place, by the same names."""


def silhouettes(
    x: Float[Tensor, "n d"], group: Int[Tensor, " n"], groups: int
) -> Float[Tensor, " n"]:
    """How much nearer every row lies to its own group than to the nearest other: -1 to 1.

    With cosine distances the mean distance to a group is the distance to the mean of its
    directions, so that all pairs are counted without visiting any. A row that is alone in its
    group has 0, as has every row where there is one group.
    """
    x = F.normalize(x.double(), eps=_SMALLEST)
    counts = group.bincount(minlength=groups)
    sums = torch.zeros(groups, x.shape[1], dtype=torch.double).index_add_(0, group, x)
    apart = counts - x @ sums.T  # summed over a group, the row itself among its own
    itself = 1 - x.square().sum(1)
    own = apart.gather(1, group[:, None])[:, 0] - itself
    within = own / (counts[group] - 1).clamp_min(1)
    elsewhere = (counts == 0) | (torch.arange(groups) == group[:, None])
    between = (apart / counts.clamp_min(1)).masked_fill(elsewhere, torch.inf).min(1).values
    alone = (counts[group] < 2) | between.isinf()
    longer = torch.maximum(within, between).clamp_min(_SMALLEST)
    return torch.where(alone, 0.0, (between - within) / longer)


def purities(
    x: Float[Tensor, "n d"], label: Int[Tensor, " n"], asked: Int[Tensor, " m"], k: int
) -> Float[Tensor, " m"]:
    """Share of the ``k`` rows nearest by cosine that carry the same label, for the rows asked."""
    x = F.normalize(x, eps=_SMALLEST)
    shares = []
    for rows in asked.split(_CHUNK):
        near = x[rows] @ x.T
        near[torch.arange(len(rows)), rows] = -torch.inf  # nobody is a neighbour of itself
        nearest = near.topk(min(k, len(x) - 1), dim=1).indices
        shares.append((label[nearest] == label[rows, None]).double().mean(1))
    return torch.cat(shares)


def procrustes(x: Float[Tensor, "n d"], onto: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """The rotation or reflection that brings every row of one nearest to its row of the other."""
    left, _, right = torch.linalg.svd(x.double().T @ onto.double())
    best: Tensor = left @ right
    return best


def principal(x: Float[Tensor, "n d"], k: int) -> Float[Tensor, "d k"]:
    """The directions along which the rows differ most, at most ``k`` of them, largest first.

    The sign of a direction is free; here its largest part is positive.
    """
    x = x.double() - x.double().mean(0)
    if len(x) < x.shape[1]:  # the smaller of both products has the same eigenvalues
        values, vectors = torch.linalg.eigh(x @ x.T)
        axes = F.normalize(x.T @ vectors[:, values > values[-1] * _SMALLEST], dim=0)
    else:
        axes = torch.linalg.eigh(x.T @ x).eigenvectors
    axes = axes.flip(1)[:, :k]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return axes * largest.sign()


def telling(x: Float[Tensor, "n d"], z: Int[Tensor, " n"]) -> Float[Tensor, "d 2"]:
    """Two directions that tell groups apart; of two groups, the second is one that tells nothing.

    They are those of a ridge regression on the groups, in which features of little spread have
    little say.
    """
    rows = x.double() - x.double().mean(0)
    groups = F.one_hot(z.long()).double()
    bend = rows.mT @ rows
    ridge = _RIDGE * bend.diagonal().mean() + torch.finfo(torch.double).tiny
    eye = torch.eye(len(bend), dtype=torch.double)
    weights = torch.linalg.solve(bend + ridge * eye, rows.mT @ (groups - groups.mean(0)))
    found = torch.linalg.svd(weights, full_matrices=False).U[:, : min(2, groups.shape[1] - 1)]
    rest = rows - rows @ found @ found.mT
    axes = torch.cat([found, principal(rest, 2)], 1)[:, :2]
    return F.pad(axes, (0, 2 - axes.shape[1]))
