"""Noise that hides what a step left behind, and when it may be called a guarantee.

The bound is that of Sekhari, Acharya, Kamath and Suresh, "Remember What You Want to Forget", 2021:
for a strongly convex objective, one Newton step on all parameters with the Hessian of everything
that stays lands within a distance of the retrained optimum which the noise must hide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from expunge.algebra.gaussian import analytic_sigma
from expunge.algebra.noise import heuristic_sigma, newton_shift, secret_normal
from expunge.algebra.parameters import Block
from expunge.method import Report

Where = Literal["block", "complement", "all"]

LIPSCHITZ, BEND = 1.0, 0.25
"""What stands in for constants that nobody declared: those of the published scripts."""

CONVERGED = 0.01
"""How far from its optimum a model may lie, as a share of the shift.

Both the original and a model that was retrained may, so twice that is hidden too.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """How much noise, on which numbers, and what keeps it from being a guarantee."""

    epsilon: float | None  # None: none
    delta: float
    where: Where
    ridge: float  # the curvature that the objective has in every direction, by its l2
    lipschitz: float  # of the loss of a sample
    bend: float  # the same of its Hessian
    unmet: tuple[str, ...]  # conditions of the guarantee that do not hold

    @property
    def promised(self) -> bool:
        """Whether nothing is known yet that keeps this from being a guarantee."""
        return self.epsilon is not None and not self.unmet

    def shift(self, gone: int, count: int) -> float:
        """How far the steps for so many may end from the retrained optimum."""
        return newton_shift(
            n=count, m=gone, l2=self.ridge, lipschitz=self.lipschitz,
            hessian_lipschitz=self.bend,
        )  # fmt: skip

    def blur(self, model: nn.Module, block: Block, *, leaving: int, count: int) -> None:
        """After a step, by the published formula; a guarantee adds its noise once, at the end."""
        if self.epsilon is None or not self.unmet:
            return
        sigma = heuristic_sigma(
            epsilon=self.epsilon, delta=self.delta, n=count, m=leaving, l2=self.ridge,
            lipschitz=self.lipschitz, hessian_lipschitz=self.bend,
        )  # fmt: skip
        _shake(model, block, sigma, self.where)

    def conclude(
        self, model: nn.Module, report: Report, *, gone: int, count: int, but: str = ""
    ) -> None:
        """Add the noise of a guarantee, or say that there is none: ``but`` is why, after all."""
        if self.epsilon is None:
            return
        if self.unmet:
            sigma = heuristic_sigma(
                epsilon=self.epsilon, delta=self.delta, n=count, m=1, l2=self.ridge,
                lipschitz=self.lipschitz, hessian_lipschitz=self.bend,
            )  # fmt: skip
            report.note(
                f"heuristic noise, no guarantee (sigma {sigma:.3g} for a single sample): "
                + "; ".join(self.unmet)
            )
            return
        shift = self.shift(gone, count) * (1 + 2 * CONVERGED)
        sigma = analytic_sigma(shift, epsilon=self.epsilon, delta=self.delta) if gone else 0.0
        _shake(model, Block.whole(model), sigma, "all", secret_normal)
        if but:
            report.note(f"heuristic noise, no guarantee (sigma {sigma:.3g} on every number): {but}")
            return
        report.note(
            f"assumption_declared: ({self.epsilon}, {self.delta}) for {gone} of {count:,} samples, "
            f"by noise of sigma {sigma:.3g} on every number, if a sample's loss is convex and, as "
            f"declared, {self.lipschitz}-Lipschitz, and its Hessian {self.bend}-Lipschitz"
        )


Draw = Callable[[Tensor], Tensor]
"""Standard normal numbers, as many as those of a tensor."""


@torch.no_grad()
def _shake(
    model: nn.Module, block: Block, sigma: float, where: Where, draw: Draw = torch.randn_like
) -> None:
    for name, value in model.named_parameters():
        if not value.requires_grad:
            continue
        noise = sigma * draw(value)
        if where != "all":
            inside = _inside(block, name, value)
            noise = noise * (inside if where == "block" else ~inside)
        value.add_(noise)


def _inside(block: Block, name: str, value: Tensor) -> Tensor:
    found = torch.zeros(value.numel(), dtype=torch.bool, device=value.device)
    if name in block.positions:
        found[block.positions[name].to(value.device)] = True
    return found.view(value.shape)
