"""Softmax regression with a penalty on its weights, from the strongest penalty to the weakest.

The regression starts from given bets and changes them by what a hyperplane for each group says, so
that with all weights at zero it is as wise as they. In the principal axes of the features the
curvature is nearly diagonal; each axis is scaled by it, and a few steps of L-BFGS over all samples
find the one solution.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.guessing import Asked, Standard

_OPTIONS = {"maxiter": 500, "maxfun": 1000, "ftol": 1e-11, "gtol": 1e-7}


@dataclass(frozen=True, slots=True, eq=False)
class Hyperplanes:
    """A hyperplane for every group, on standardised features."""

    standard: Standard
    weights: Float[Tensor, "d k"]
    bias: Float[Tensor, " k"]

    def __call__(self, asked: Asked) -> Float[Tensor, "n k"]:
        """The bets, changed by the sides on which every sample lies."""
        logits = asked.bets * log(2) + self.standard(asked.x) @ self.weights + self.bias
        return logits.log_softmax(1) / log(2)


def solutions(asked: Asked, penalties: Iterable[float]) -> Iterator[Hyperplanes]:
    """The solution for every penalty, each the start of the next.

    It minimises the mean log-loss in nats, plus half of the penalty times the squared weights.
    """
    standard = Standard.of(asked.x)
    left, sizes, axes = torch.linalg.svd(standard(asked.x), full_matrices=False)
    shares = asked.bets.exp2()
    bend = (shares * (1 - shares)).mean().clamp_min(1e-6)
    weights, bias = torch.zeros(len(sizes), shares.shape[1]).double(), torch.zeros_like(shares[0])
    for penalty in penalties:
        pace = (bend * sizes**2 / len(asked) + penalty).rsqrt()[:, None]
        problem = _Problem(left * sizes * pace.mT, asked, pace, bend.rsqrt(), penalty)
        weights, bias = problem.solved(weights, bias)
        yield Hyperplanes(standard, axes.mT @ weights, bias)


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """The objective for one penalty, in coordinates in which it bends alike everywhere."""

    rows: Float[Tensor, "n r"]
    asked: Asked
    pace: Float[Tensor, "r 1"]  # what one unit of a coordinate is in weights
    step: Float[Tensor, ""]  # the same for the bias
    penalty: float

    def solved(self, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        start = torch.cat([weights / self.pace, bias[None] / self.step])
        found = optimize.minimize(
            self.objective, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=_OPTIONS
        )
        place = torch.from_numpy(found.x).view_as(start)
        return self.pace * place[:-1], self.step * place[-1]

    def objective(self, flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        place = torch.from_numpy(flat).view(-1, self.asked.bets.shape[1])
        weights = self.pace * place[:-1]
        logits = self.asked.bets * log(2) + self.rows @ place[:-1] + self.step * place[-1]
        told = logits.log_softmax(1)
        loss = F.nll_loss(told, self.asked.z.long()) + self.penalty / 2 * weights.square().sum()
        slope = told.exp()
        slope[torch.arange(len(slope)), self.asked.z] -= 1
        slope /= len(slope)
        pull = self.rows.mT @ slope + self.penalty * self.pace * weights
        return loss.item(), torch.cat([pull, self.step * slope.sum(0)[None]]).flatten().numpy()
