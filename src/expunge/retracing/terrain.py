"""Slope and curvature of a mean loss over some samples, at the place where a model stands.

A model whose only learning layer gives its answers is asked once, and calculated from then on;
any other is asked every time.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.contraction import Scale
from expunge.algebra.curvature import Product
from expunge.method import Case
from expunge.retracing.path import Ordered
from expunge.retracing.readout import Readout
from expunge.stepping import Ground

_PASS = 2048  # samples in one pass

Vector = Float[Tensor, " k"]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Terrain that a model is asked about by passes, forward and backward."""

    model: nn.Module
    ordered: Ordered
    ground: Ground
    count: int

    def gradient(self) -> Vector:
        """The gradient of the mean loss."""
        like = self.ordered.place(self.model)
        return self.ordered.vector(self.ground.gradient(self.model), like)

    def bend(self, *, rough: bool, ridge: float) -> tuple[Product, None]:  # noqa: ARG002
        """What multiplies by the curvature here; its inverse cannot be guessed."""
        return self.ground.product(self.model, self.ordered.block), None

    def stride(self, step: Vector, slope: Vector, decay: Scale) -> Vector:  # noqa: ARG002
        """The same step: other lengths would take passes to compare."""
        return step


Terrain = Readout | Asked


def terrain(model: nn.Module, case: Case, ordered: Ordered, ids: Int[Tensor, " n"]) -> Terrain:
    """The mean loss over these samples, of whom any may be asked."""
    read = Readout.of(model, case, ordered, ids)
    if read is not None:
        return read
    chunks = ids.sort().values.split(_PASS)
    ground = Ground(case.retain, chunks, case.task, "hessian", damping=0.0)
    return Asked(model, ordered, ground, len(ids))
