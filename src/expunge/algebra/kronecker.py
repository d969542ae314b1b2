"""The curvature of a linear layer, nearly: a matrix of its inputs times one of its outputs.

It would be exactly that if how sure an answer is did not depend on what went in. Its inverse costs
two small eigendecompositions, and makes systems of the true curvature easy to solve.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Weights = Float[Tensor, "c d"]


def inverse(
    outputs: Float[Tensor, "c c"], inputs: Float[Tensor, "d d"], ridge: float
) -> Callable[[Weights], Weights]:
    """The product of weights with the inverse of ``outputs ⊗ inputs``, ``ridge`` on its diagonal.

    Both matrices are symmetric, and taken for positive: what rounding made negative is zero.
    """
    bends, u = torch.linalg.eigh(outputs.double())
    moments, q = torch.linalg.eigh(inputs.double())
    height = bends.clamp_min(0)[:, None] * moments.clamp_min(0) + ridge

    def product(weights: Weights) -> Weights:
        found: Tensor = u @ ((u.mT @ weights.double() @ q) / height) @ q.mT
        return found.to(weights)

    return product
