"""The Newton step on some parameters: what a pull does where the retained loss is curved.

Curvature is that of the mean loss over retained samples, restricted to a block. For units of a
network it has a low rank, a row a sample and direction, and is solved through these rows; else it
is only ever multiplied with, or written out where it is small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra import curvature
from expunge.algebra.curvature import Linearised, Product, Solution
from expunge.algebra.parameters import Block, flat
from expunge.batching import Batches
from expunge.moving import gradients
from expunge.secants import secant
from expunge.tasks import Batch, Task
from expunge.units import Units, watched

Curvature = Literal["ggn", "hessian", "fisher", "secant", "none"]

SMALL = 512
"""Parameters up to which a matrix is written out; each costs what a round does."""
_ROWS = 2**27  # numbers in a low-rank factor, at most: with its copies, some 5 GiB
_ENERGY = 0.99  # of the loss's curvature in the logits: 128 samples tell it no better than that
_DIRECTIONS = 8  # at most: a sure answer among 150 has as many, and all but the first are weak


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Where a step may go: a block, and the units it lies behind."""

    block: Block
    units: Units | None = None  # None: the block is not that of chosen units
    chosen: tuple[int, ...] = ()

    @classmethod
    def behind(cls, units: Units, chosen: Sequence[int]) -> "Site":
        """The parameters of these units."""
        return cls(units.block(chosen), units, tuple(chosen))


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What curvature is measured on, and how."""

    source: Batches
    chunks: Sequence[Int[Tensor, " _"]]  # positions of samples, a pass each
    task: Task
    kind: Curvature
    damping: float  # added to the curvature in every direction
    rounds: int = 100  # of conjugate gradients, at most
    tolerance: float = 1e-4  # of the residual
    written: int | None = None  # parameters up to which the matrix is written out; None: SMALL

    def solve(self, model: nn.Module, site: Site, pull: Float[Tensor, " k"]) -> Solution:
        """The step that the damped curvature turns into the pull."""
        if self.kind == "none":
            return Solution(pull / self.damping, 0.0, 0)
        if self.kind == "secant":
            rows = [secant(model, site.block, partial(self.gradient, model))]
            return self._through(rows, pull)
        if site.units is not None and self.kind != "hessian":
            factor = self._factor(model, site.units, site.chosen, len(site.block))
            if factor is not None:
                return self._through(factor, pull)
        product, size = self.product(model, site.block), len(site.block)
        if size > (SMALL if self.written is None else self.written):
            return curvature.conjugate_gradients(
                product, pull, damping=self.damping, rounds=self.rounds, tolerance=self.tolerance
            )
        matrix = curvature.explicit(product, size, like=pull)
        return curvature.dense(matrix, pull, damping=self.damping)

    @property
    def count(self) -> int:
        """Samples that curvature is measured on."""
        return sum(map(len, self.chunks))

    def product(self, model: nn.Module, block: Block) -> Product:
        """What multiplies a vector by the undamped curvature."""
        parameters = dict(model.named_parameters())
        if self.kind == "hessian":
            losses = [partial(self._loss, model, chunk) for chunk in self.chunks]
            return curvature.hessian(losses, parameters, block)
        ask = self._bent if self.kind == "ggn" else self._each
        answers = [partial(ask, model, chunk) for chunk in self.chunks]
        return curvature.gauss_newton(answers, parameters, block)

    def gradient(self, model: nn.Module) -> dict[str, Tensor]:
        """The gradient of the mean loss, for every parameter that may learn."""
        total: dict[str, Tensor] = {}
        for chunk in self.chunks:
            for name, value in gradients(model, self._loss(model, chunk)).items():
                total[name] = total[name] + value if name in total else value
        return total

    def _through(self, rows: Sequence[Tensor] | Tensor, pull: Tensor) -> Solution:
        factor = rows if isinstance(rows, Tensor) else torch.stack([*rows])
        return curvature.woodbury(factor, pull, damping=self.damping)

    def _loss(self, model: nn.Module, chunk: Tensor) -> Tensor:
        return self.task.loss(model, self.source.take(chunk)).sum() / self.count

    def _each(self, model: nn.Module, chunk: Tensor) -> Linearised:
        losses = self.task.loss(model, self.source.take(chunk))
        return losses[:, None], lambda v: v / self.count

    def _bent(self, model: nn.Module, chunk: Tensor) -> Linearised:
        batch = self.source.take(chunk)
        logits = self.task.answer(model, batch).logits
        bends = curvature.in_logits(self._of_logits(batch, logits), rows_of(logits).detach())
        return rows_of(logits), lambda v: (bends @ v[:, :, None])[:, :, 0] / self.count

    def _of_logits(self, batch: Batch, like: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda logits: self.task.loss(Saying(logits.view_as(like)), batch)

    def solved(self, found: Solution) -> bool:
        """Whether this is the whole solution, of a curvature that bends upwards everywhere."""
        return found.upwards and found.residual <= self.tolerance

    def _factor(
        self, model: nn.Module, units: Units, chosen: Sequence[int], size: int
    ) -> Float[Tensor, "m k"] | None:
        """Rows whose outer products add up to the curvature; None if they are too many to hold."""
        found: list[Tensor] = []
        for chunk in self.chunks:
            with watched(model, units) as calls:
                numbers = self._numbers(model, self.source.take(chunk))
                if numbers.numel() * size * len(self.chunks) > _ROWS:
                    return None
                rows = calls.gradients(numbers, chosen).flatten(0, 1)
            found.append(rows / self.count**0.5)
        return torch.cat(found)

    def _numbers(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n c"]:
        """Numbers of every sample whose gradients' outer products are its curvature."""
        if self.kind == "fisher":
            return self.task.loss(model, batch)[:, None]
        logits = self.task.answer(model, batch).logits
        answers = rows_of(logits)
        bends = curvature.in_logits(self._of_logits(batch, logits), answers.detach())
        return (answers[:, :, None] * _directions(curvature.root(bends))).sum(1)


def off_optimum(model: nn.Module, parts: Sequence[Ground], l2: float) -> float:
    """How far a model can lie from where mean loss + l2/2 · |w|² is least, at most."""
    everybody, slope = sum(part.count for part in parts), l2 * flat(model)
    for part in parts:
        mean = torch.cat([value.flatten() for value in part.gradient(model).values()])
        slope = slope + mean * part.count / everybody
    return float(slope.norm()) / l2


def _directions(roots: Float[Tensor, "n c c"]) -> Float[Tensor, "n c d"]:
    """The columns that carry nearly all of the curvature, the strongest first."""
    strength = roots.square().sum((0, 1))
    order = strength.argsort(descending=True)
    share = strength[order].cumsum(0) / strength.sum().clamp_min(1e-30)
    return roots[:, :, order[: min(int((share < _ENERGY).sum()) + 1, _DIRECTIONS)]]


def rows_of(logits: Tensor) -> Float[Tensor, "n c"]:
    """Logits as one row a sample; a model of one number a sample may leave the column out."""
    return logits.reshape(len(logits), -1)


class Saying(nn.Module):
    """A model that gives one answer whatever it is asked, so that a task can judge the answer."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *_inputs: Any, **_named: Any) -> Tensor:
        return self.answer
