"""A linear head where its penalised loss is least, for features that have changed under it.

What is least is the mean loss of the task, plus half of the penalty times the squared weights, as
if features had a mean variance of one. That is convex, and the start does not matter. In the
principal axes of the features the curvature is nearly diagonal; each axis is scaled by it, and a
few steps of L-BFGS over all samples find the minimum.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.erasure import Map
from expunge.tasks import Kind

_OPTIONS = {"maxiter": 300, "maxfun": 600, "ftol": 1e-11, "gtol": 1e-7}
_BEND = 0.25  # of a loss that is neither sure nor wrong, with respect to a logit
_FLAT = 1e-10  # share of the largest variance, below which a direction is rounding
_SMALLEST = 1e-300  # keeps features that never vary from being divided by zero


def refitted(
    x: Float[Tensor, "n d"],
    labels: Shaped[Tensor, "n *k"],
    kind: Kind,
    *,
    outputs: int,
    penalty: float,
) -> Map:
    """The affine map from features to answers of the least penalised loss."""
    x = x.double()
    mean = x.mean(0)
    variances, axes = torch.linalg.eigh((x - mean).mT @ (x - mean) / len(x))
    variances = variances.clamp_min(max(_FLAT * variances[-1].item(), _SMALLEST))
    penalty *= variances.mean().item()
    pace = (_BEND * variances + penalty).rsqrt()[:, None]
    land = _Landscape((x - mean) @ axes * pace.mT, labels, kind, pace, penalty)
    place = land.lowest(outputs)
    weights = axes @ (pace * place[:-1])
    return Map(weights.mT.contiguous(), place[-1] - mean @ weights)


def mean_loss(
    logits: Float[Tensor, "n c"], labels: Shaped[Tensor, "n *k"], kind: Kind
) -> Float[Tensor, ""]:
    """The mean loss of a task, in double precision."""
    logits = logits.double()
    if kind == "classification":
        return F.cross_entropy(logits, labels.long())
    target = labels.double().reshape(logits.shape)
    if kind == "multilabel":
        return F.binary_cross_entropy_with_logits(logits, target)
    return F.mse_loss(logits, target)


@dataclass(frozen=True, slots=True, eq=False)
class _Landscape:
    """The objective, in coordinates in which it bends alike everywhere."""

    rows: Float[Tensor, "n d"]
    labels: Shaped[Tensor, "n *k"]
    kind: Kind
    pace: Float[Tensor, "d 1"]  # what one unit of a coordinate is in weights
    penalty: float

    def lowest(self, outputs: int) -> Float[Tensor, "e c"]:
        """Its one minimum: a row for every axis, then one for the bias."""
        start = np.zeros((self.rows.shape[1] + 1) * outputs)
        found = optimize.minimize(self.look, start, jac=True, method="L-BFGS-B", options=_OPTIONS)
        return torch.from_numpy(found.x).view(-1, outputs)

    @torch.enable_grad()
    def look(self, flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        place = torch.from_numpy(flat).view(self.rows.shape[1] + 1, -1)
        weights = self.pace * place[:-1]
        logits = (self.rows @ place[:-1] + place[-1]).requires_grad_()
        loss = mean_loss(logits, self.labels, self.kind)
        (slope,) = torch.autograd.grad(loss, logits)
        pull = self.rows.mT @ slope + self.penalty * self.pace * weights
        height = loss.item() + self.penalty / 2 * weights.square().sum().item()
        return height, torch.cat([pull, slope.sum(0)[None]]).flatten().numpy()
