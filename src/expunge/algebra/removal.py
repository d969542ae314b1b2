"""Linear heads with a penalty: their optimum, a Newton step that removes rows, and its error.

The objective of one output is Σ f(x·w, y) + n·λ/2·|w|² + b·w over n rows; b is the perturbation.
A head has an output for each column of y: one or minus one for the logistic loss, any number for
ridge. How far a model is from an optimum is told by the length of its gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Loss = Literal["logistic", "ridge"]

_STEPS, _HALVINGS = 100, 40
_CLOSE = 1e-11  # of the gradient at zero: where Newton's method ends
_BENDS: dict[Loss, float] = {"logistic": 1 / (6 * sqrt(3)), "ridge": 0.0}
"""The steepest change of f'' along x·w."""
_ROUNDING = 1e-14  # of the terms of a gradient, and of each row


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Samples, what should be said of them, and the objective."""

    x: Float[Tensor, "n d"]
    y: Float[Tensor, "n c"]
    loss: Loss
    l2: float

    def gradient(self, w: Float[Tensor, "d c"]) -> Float[Tensor, "d c"]:
        """That of the objective without perturbation."""
        return self.x.T @ self.slopes(w) + len(self.x) * self.l2 * w

    def slopes(self, w: Float[Tensor, "d c"]) -> Float[Tensor, "n c"]:
        """The derivative f' of every row and output."""
        z = self.x @ w
        return z - self.y if self.loss == "ridge" else -self.y * torch.sigmoid(-self.y * z)

    def hessian(self, w: Float[Tensor, " d"]) -> Float[Tensor, "d d"]:
        """That of one output."""
        rows = self.x
        if self.loss == "logistic":
            chance = torch.sigmoid(self.x @ w)
            rows = self.x * (chance * (1 - chance))[:, None]
        bend: Tensor = rows.T @ self.x
        bend.diagonal().add_(len(self.x) * self.l2)
        return bend

    def height(self, w: Float[Tensor, "d c"], b: Float[Tensor, "d c"]) -> Float[Tensor, " c"]:
        """The objective of every output."""
        z = self.x @ w
        losses = (z - self.y).square() / 2 if self.loss == "ridge" else F.softplus(-self.y * z)
        return losses.sum(0) + (len(self.x) * self.l2 / 2 * w.square() + b * w).sum(0)


def fitted(rows: Rows, b: Float[Tensor, "d c"]) -> tuple[Float[Tensor, "d c"], Tensor]:
    """The optimum, and the length of the gradient that is left of every output."""
    w = torch.zeros_like(b)
    goal = _CLOSE * (rows.gradient(w) + b).norm(dim=0)
    for _ in range(_STEPS):
        slope = rows.gradient(w) + b
        if bool((slope.norm(dim=0) <= goal).all()):
            break
        w = _descended(rows, w, b, _solved(_hessians(rows, w), slope))
    return w, (rows.gradient(w) + b).norm(dim=0)


def without(
    stays: Rows, leaves: Rows, w: Float[Tensor, "d c"]
) -> tuple[Float[Tensor, "d c"], Float[Tensor, " c"]]:
    """The head after one Newton step, and how much it can lengthen every output's gradient.

    The step s misses the optimum by what f'' changes on the way: for every row at most half of its
    steepest change, times the square of x·s. The norm of X carries that to the gradient. What the
    solver and rounding miss is added.
    """
    pull = leaves.gradient(w)
    bends = _hessians(stays, w)
    step = _solved(bends, pull)
    bent = torch.stack([bend @ one for bend, one in zip(bends, step.T, strict=True)], 1)
    width = float(torch.linalg.eigvalsh(stays.x.T @ stays.x)[-1].sqrt())
    far = _BENDS[stays.loss] / 2 * width * (stays.x @ step).square().norm(dim=0)
    terms = width * len(stays.x) ** 0.5 + len(stays.x) * stays.l2 * w.norm(dim=0)
    rounding = _ROUNDING * len(stays.x) ** 0.5 * (terms + pull.norm(dim=0))
    return w + step, far + (bent - pull).norm(dim=0) + rounding


def allowed(sigma: float, *, epsilon: float, delta: float) -> float:
    """The longest gradient that a perturbation of this deviation hides: σε/√(2 log(1.5/δ))."""
    return sigma * epsilon / sqrt(2 * log(1.5 / delta))


def _hessians(rows: Rows, w: Float[Tensor, "d c"]) -> list[Float[Tensor, "d d"]]:
    """That of every output; for ridge they are one."""
    if rows.loss == "ridge":
        return [rows.hessian(w[:, 0])] * w.shape[1]
    return [rows.hessian(one) for one in w.T]


def _solved(bends: Sequence[Float[Tensor, "d d"]], b: Float[Tensor, "d c"]) -> Float[Tensor, "d c"]:
    """What the Hessian of every output turns into its column."""
    pairs = zip(bends, b.T, strict=True)
    return torch.stack([torch.linalg.solve(bend, one) for bend, one in pairs], 1)


def _descended(
    rows: Rows, w: Float[Tensor, "d c"], b: Float[Tensor, "d c"], step: Float[Tensor, "d c"]
) -> Float[Tensor, "d c"]:
    """A step back, halved for every output in which it leads uphill."""
    here, length = rows.height(w, b), torch.ones(w.shape[1]).to(w)
    here = here + here.abs() * 1e-12  # rounding may look like a hill
    for _ in range(_HALVINGS):
        uphill = rows.height(w - length * step, b) > here
        if not uphill.any():
            break
        length = torch.where(uphill, length / 2, length)
    return w - length * step
