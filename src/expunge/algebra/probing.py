"""Linear probes: what can be read out of features by one hyperplane.

Logistic regression with an L2 penalty on standardised features. Both groups weigh the same,
however many samples they have, so that the larger one does not decide where the plane lies. The
penalty makes the solution unique, so that the same features always give the same probe.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Hyperplane:
    """A hyperplane; on its upper side is what the probe takes for a member of the group."""

    mean: Float[Tensor, " d"]
    scale: Float[Tensor, " d"]
    weights: Float[Tensor, " d"]
    bias: float

    def scores(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """How far on the upper side every row lies, in logits."""
        return (x.double() - self.mean) / self.scale @ self.weights + self.bias


def probe(x: Float[Tensor, "n d"], inside: Bool[Tensor, " n"], l2: float) -> Hyperplane:
    """The hyperplane that tells the rows inside a group from the others.

    It minimises the mean log-loss, plus half of ``l2`` times the squared length of the weights.
    """
    mean, scale = x.double().mean(0), x.double().std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)  # a feature that never changes says nothing
    rows: NDArray[np.float64] = ((x.double() - mean) / scale).numpy()
    share = np.where(inside.numpy(), 0.5 / int(inside.sum()), 0.5 / int((~inside).sum()))
    sign = np.where(inside.numpy(), 1.0, -1.0)

    def objective(place: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, margin = place[:-1], sign * (rows @ place[:-1] + place[-1])
        loss = share @ np.logaddexp(0, -margin) + l2 / 2 * weights @ weights
        pull = -share * sign * special.expit(-margin)
        return float(loss), np.append(rows.T @ pull + l2 * weights, pull.sum())

    start = np.zeros(rows.shape[1] + 1)
    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-7}
    found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    return Hyperplane(mean, scale, torch.from_numpy(found[:-1]), float(found[-1]))
