"""Classifiers that are functions of sums over samples: to subtract a sample is to forget it.

Each kind has a tally, a few tensors that add up over samples, and a solution: the logits are
x²·A + x·B + c. All of it is in double precision.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

Kind = Literal["ridge", "lda", "centroid", "bayes"]
Tally = Mapping[str, Tensor]
Solution = tuple[Float[Tensor, "d c"], Float[Tensor, "d c"], Float[Tensor, " c"]]

_FAR = 1e3  # how much less likely than the least likely class one is that nobody is of


def tally(
    kind: Kind, x: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int
) -> dict[str, Tensor]:
    """What the solution of this kind needs to know of some samples."""
    own = F.one_hot(y, classes).to(x)
    sums = {"counts": own.sum(0), "sums": own.T @ x}
    match kind:
        case "centroid":
            return sums
        case "bayes":
            return sums | {"squares": own.T @ x.square()}
        case "lda" | "ridge":
            return sums | {"products": x.T @ x}


def solution(kind: Kind, told: Tally, shrink: float) -> Solution:
    """The classifier; ``shrink`` of a feature's mean variance is added to every variance."""
    match kind:
        case "ridge":
            return _ridge(told, shrink)
        case "lda":
            return _discriminant(told, shrink)
        case "centroid":
            means = _means(told)
            return torch.zeros_like(means.T), means.T, -means.square().sum(1) / 2
        case "bayes":
            return _bayes(told, shrink)


def logits(
    x: Float[Tensor, "n d"], found: Solution, there: Bool[Tensor, " c"]
) -> Float[Tensor, "n c"]:
    """What the classifier says; a class that nobody is of comes last."""
    a, b, c = found
    said = x.square() @ a + x @ b + c
    return said.where(there, said.amin(1, keepdim=True) - _FAR)


def neighbourly(
    x: Float[Tensor, "n d"],
    rows: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    *,
    near: int,
    classes: int,
) -> Float[Tensor, "n c"]:
    """Logarithms of the shares of each class among the nearest rows; labels below zero are none."""
    apart = torch.cdist(x, rows, compute_mode="donot_use_mm_for_euclid_dist")
    apart = apart.masked_fill(labels < 0, torch.inf)
    closest = apart.topk(min(near, int((labels >= 0).sum())), largest=False).indices
    votes = F.one_hot(labels.clamp_min(0)[closest], classes).sum(1).to(x)
    return (votes + 1 / classes).log() - (votes + 1 / classes).sum(1, keepdim=True).log()


def _means(told: Tally) -> Float[Tensor, "c d"]:
    found: Tensor = told["sums"] / told["counts"].clamp_min(1)[:, None]
    return found


def _ridge(told: Tally, shrink: float) -> Solution:
    """Least squares of ones and zeros on centred features: the bias is not pulled."""
    counts, sums, n = told["counts"], told["sums"], told["counts"].sum()
    mean, shares = sums.sum(0) / n, counts / n
    spread = told["products"] / n - mean.outer(mean)
    met = sums.T / n - mean.outer(shares)
    weights = torch.linalg.solve(_shrunk(spread, shrink), met)
    return torch.zeros_like(weights), weights, shares - mean @ weights


def _discriminant(told: Tally, shrink: float) -> Solution:
    """Gaussians of one covariance: that inside the classes, by maximum likelihood."""
    counts, means, n = told["counts"], _means(told), told["counts"].sum()
    inside = (told["products"] - (means.T * counts) @ means) / n
    weights = torch.linalg.solve(_shrunk(inside, shrink), means.T)
    prior = (counts.clamp_min(1) / n).log()
    return torch.zeros_like(weights), weights, prior - (means.T * weights).sum(0) / 2


def _bayes(told: Tally, shrink: float) -> Solution:
    """Gaussians of every class whose features are independent."""
    counts, means, n = told["counts"], _means(told), told["counts"].sum()
    inside = told["squares"] / counts.clamp_min(1)[:, None] - means.square()
    usual = (inside * counts[:, None]).sum() / (n * inside.shape[1])
    variances = inside.clamp_min(0) + shrink * usual
    prior = (counts.clamp_min(1) / n).log()
    height = prior - (variances.log() + means.square() / variances).sum(1) / 2
    return -0.5 / variances.T, (means / variances).T, height


def _shrunk(matrix: Float[Tensor, "d d"], shrink: float) -> Float[Tensor, "d d"]:
    return matrix + shrink * matrix.diagonal().mean() * torch.eye(len(matrix)).to(matrix)
