"""Influence: one Newton step to where training without the forget set would have led.

Koh and Liang, "Understanding Black-box Predictions via Influence Functions", 2017, estimate by it
what a sample did; it unlearns as in Guo, Goldstein, Hannun and van der Maaten, "Certified Data
Removal from Machine Learning Models", 2020, there for linear models. The step is H⁻¹ times the
summed gradients of the forget set, by the number that stays. What differs: H is the curvature of
the retained samples, so that ridge regression is solved exactly, where influence functions take
that of all; it is the Gauss-Newton matrix unless ``curvature="hessian"``, as a network's Hessian
bends downwards somewhere; and a step is cut to a share of the weights, as far from an optimum
nothing bounds it. Where the weight decay of training is known, ``l2`` should be it: then the step
follows the objective that was trained. With ``blocks="layers"`` H is block-diagonal, and each layer
has a step of its own.

It costs a forward and backward pass of the forget set, and for each round of conjugate gradients,
``rounds`` at most, two of ``subsample`` retained samples; with layers, as often for each layer.
BatchNorm: statistics are held, as is what they store of samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.curvature import Solution
from expunge.algebra.parameters import Block
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.stepping import SMALL, Ground, Site

_DAMPING = 5e-4  # where neither it nor the objective's l2 is given
_PASS = 512  # samples in one pass
_EXACT, _ENOUGH = 1e-8, 0.01  # residuals of the solution: as small as can be, and as it may be


@dataclass(frozen=True)
class Influence(Method):
    """Take one Newton step away from the forget set, on all weights at once or layer by layer."""

    curvature: Literal["ggn", "hessian"] = "ggn"  # of the mean loss of the retain set
    blocks: Literal["all", "layers"] = "all"  # layers: no curvature between two of them
    l2: float | None = None  # the objective: mean loss + l2/2 · |w|²; None: not known
    damping: float | None = None  # added to the curvature; None: 0 where l2 is known, else 5e-4
    rounds: int = 100  # of conjugate gradients, at most
    subsample: int = 1024  # retained samples behind the curvature; 0: all
    trust: float = 0.3  # longest step, as a share of the weights that it moves; 0: any

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        if not self.ridge:
            raise BadSetting(
                "nothing is added to the curvature, which may be singular",
                hint="use damping=5e-4, or the l2 of the objective.",
            )
        ground, pull = self._ground(case), self._pull(model, case)
        found: list[tuple[Block, Solution, Tensor]] = []
        for block in _blocks(model, self.blocks):
            case.report.progress("unlearn", len(found), 0)
            solution = ground.solve(model, Site(block), block.gather(pull))
            found.append((block, solution, self._step(model, block, solution.x, case)))
        for block, _, step in found:
            block.move(model, step)
        _tell(case, ground, [solution for _, solution, _ in found])
        return model

    @property
    def ridge(self) -> float:
        """What is added to the curvature in every direction."""
        known = self.l2 or 0.0
        return known + (self.damping if self.damping is not None else 0.0 if known else _DAMPING)

    def _ground(self, case: Case) -> Ground:
        ids = case.retain.part.indices
        some = ids[torch.randperm(len(ids))[: self.subsample or len(ids)].sort().values]
        tolerance = _ENOUGH if self.l2 is None else _EXACT
        return Ground(
            case.retain, some.split(_PASS), case.task, self.curvature, self.ridge,
            self.rounds, tolerance, min(SMALL, self.rounds),
        )  # fmt: skip

    def _pull(self, model: nn.Module, case: Case) -> dict[str, Tensor]:
        """What the forget set added to the gradient, with its share of the penalty."""
        gone, left = len(case.forget.part), len(case.retain.part)
        leaving = replace(
            self._ground(case), source=case.forget, chunks=case.forget.part.indices.split(_PASS)
        )
        decay, weights = self.l2 or 0.0, dict(model.named_parameters())
        means = leaving.gradient(model)
        return {n: (g + decay * weights[n].detach()) * gone / left for n, g in means.items()}

    def _step(
        self, model: nn.Module, block: Block, step: Float[Tensor, " k"], case: Case
    ) -> Float[Tensor, " k"]:
        weights = block.gather(dict(model.named_parameters())).detach()
        most, length = self.trust * float(weights.norm()), float(step.norm())
        if not 0 < most < length:
            return step
        case.report.note(f"a step was cut to {self.trust:.0%} of the weights: it was {length:.3g}")
        return step * (most / length)


def _blocks(model: nn.Module, kind: Literal["all", "layers"]) -> Iterator[Block]:
    """All parameters that may learn, or those of one layer after another."""
    whole = Block.whole(model)
    if kind == "all":
        yield whole
        return
    layers: dict[str, dict[str, Tensor]] = {}
    for name, places in whole.positions.items():
        layers.setdefault(name.rpartition(".")[0], {})[name] = places
    yield from map(Block, layers.values())


def _tell(case: Case, ground: Ground, found: Sequence[Solution]) -> None:
    """Say what it took, and where a step is not the whole solution."""
    rounds = sum(solution.rounds for solution in found)
    case.report.note(f"{rounds} rounds of conjugate gradients over {ground.count:,} samples")
    off = [one.residual for one in found if not one.upwards or one.residual > _ENOUGH]
    if off:
        case.report.note(
            f"{len(off)} of {len(found)} systems were not solved: up to {max(off):.2g} of a pull "
            f"is missed, or the curvature bends downwards somewhere"
        )
