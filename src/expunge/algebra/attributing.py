"""Which inputs an answer rests on: integrated gradients, and how alike two maps are.

Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, 2017. The integral along the
straight line from a baseline is taken by the midpoint rule.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

Score = Callable[[Tensor], Float[Tensor, " n"]]
"""One number for every row of inputs; a row's number depends on no other row."""


def integrated_gradients(
    score: Score, x: Float[Tensor, "n *d"], baseline: Float[Tensor, "*d"], steps: int
) -> Float[Tensor, "n *d"]:
    """How much every input adds to the score on the way from the baseline to ``x``."""
    path = (x - baseline).detach()
    total = torch.zeros_like(path)
    for step in range(steps):
        point = (baseline + (step + 0.5) / steps * path).detach().requires_grad_()
        # The clone may be changed in place, as some first layers do; the leaf may not.
        total += torch.autograd.grad(score(point.clone()).sum(), point)[0]
    return path * total / steps


def rank_correlation(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Spearman's correlation of every two rows; not a number where a row is constant."""
    ranks = [torch.from_numpy(stats.rankdata(rows.numpy(), axis=1)) for rows in (a, b)]
    x, y = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    lengths = x.square().sum(1).sqrt() * y.square().sum(1).sqrt()
    return ((x * y).sum(1) / lengths).clamp(-1, 1)
