"""Curvature as a few moves have shown it: the compact form of limited-memory BFGS.

A move s changed the gradient by y. From a few such pairs comes the matrix that explains the last
one, is positive definite, and is as close as can be to a multiple of the identity (Byrd, Nocedal
and Schnabel, Representations of Quasi-Newton Matrices, 1994). It is never written out.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

_BENT = 1e-8  # least cosine between a move and its change that shows curvature, not rounding


@dataclass(slots=True, eq=False)
class Memory:
    """The last pairs of moves and changes, and when it is time for another one."""

    every: int = 5  # steps from one exact product to the next
    first: int = 0  # steps at the start that are all exact
    most: int = 2  # pairs that are kept
    pairs: list[tuple[Float[Tensor, " k"], Float[Tensor, " k"]]] = field(default_factory=list)
    asked: int = 0

    def due(self) -> bool:
        """Count one step, and say whether it should be exact."""
        self.asked += 1
        return not self.pairs or self.asked <= self.first or self.asked % self.every == 0

    def learn(self, move: Float[Tensor, " k"], change: Float[Tensor, " k"]) -> None:
        """Keep a pair that shows curvature upwards, and drop the oldest one."""
        if move @ change > _BENT * move.norm() * change.norm():
            self.pairs = [*self.pairs, (move, change)][-self.most :]

    def product(self, v: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """The matrix behind the pairs, times a vector."""
        s, y = (torch.stack(rows) for rows in zip(*self.pairs, strict=True))
        height = (y[-1] @ y[-1]) / (s[-1] @ y[-1])
        met = s @ y.T
        below = met.tril(-1)
        inner = torch.cat(
            [
                torch.cat([height * s @ s.T, below], 1),
                torch.cat([below.T, -met.diag().diag()], 1),
            ]
        )
        rows = torch.cat([height * s, y])
        found: Tensor = height * v - rows.T @ torch.linalg.solve(inner, rows @ v)
        return found
