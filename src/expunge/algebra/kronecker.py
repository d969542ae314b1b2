"""The curvature of a linear layer, nearly: a matrix of its inputs times one of its outputs.

It would be exactly that if how sure an answer is did not depend on what went in. Its inverse costs
two small eigendecompositions, and makes systems of the true curvature easy to solve.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Weights = Float[Tensor, "c d"]
Spectrum = tuple[Float[Tensor, " _"], Float[Tensor, "_ _"]]


def spectrum(matrix: Float[Tensor, "n n"]) -> Spectrum:
    """Eigenvalues and vectors of a symmetric matrix, taken for positive: rounding made the rest."""
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.clamp_min(0), vectors


def inverse(outputs: Spectrum, inputs: Spectrum, ridge: float) -> Callable[[Weights], Weights]:
    """The product with the inverse of ``outputs ⊗ inputs``, ``ridge`` on its diagonal."""
    (bends, u), (moments, q) = outputs, inputs
    height = bends[:, None] * moments + ridge

    def product(weights: Weights) -> Weights:
        found: Tensor = u @ ((u.mT @ weights.double() @ q) / height) @ q.mT
        return found.to(weights)

    return product
