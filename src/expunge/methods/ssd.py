"""SSD: dampen the weights that matter more to the forget set than to everybody.

Foster, Schoepf and Brintrup, "Fast Machine Unlearning Without Retraining Through Selective Synaptic
Dampening", 2024; without labels as in Foster, Schoepf and Brintrup, "Loss-Free Machine Unlearning",
2024. A weight whose importance to the forget set is above ``alpha`` times that to all samples is
multiplied by ``strength`` (the paper's lambda) times how many times more it matters to everybody,
and by one at most. Importance is the mean squared gradient of a sample's loss, or, with
``importance="output"``, the mean absolute gradient of the squared length of what it is answered.

What differs: gradients are those of each sample, where the published code squares those of batches.
All samples hold the forget set, so no weight can matter more to it than n/m times what it matters
to the n samples together, if m of them leave; where ten classes are alike, the published alpha of
10 would dampen nothing. Without a setting, alpha is that 10, or half of n/m where this is less.

It costs a forward and backward pass of every sample, or of ``subsample`` of either set: in batches
where all layers are plain, and else each by itself, which is dearer; no step of training. What is
stored of samples in BatchNorm stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.tasks import Batch, Task
from expunge.tasks.reading import call
from expunge.valuing import Worth, worth

_PUBLISHED = 10.0  # the alpha of the paper


@dataclass(frozen=True)
class Ssd(Method):
    """Dampen the weights that matter more to the forget set than to all samples."""

    importance: Literal["fisher", "output"] = "fisher"  # output: no label is read
    alpha: float | None = None  # so many times more a weight must matter; None: 10, or half of n/m
    strength: float = 1.0  # lambda: a weight keeps this, over how many times more it matters
    subsample: int = 4096  # samples of either set that stand for it; 0: all

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        if self.alpha == 0 or self.strength < 0:
            raise BadSetting(
                f"alpha is {self.alpha} and strength {self.strength}",
                hint="alpha is above 0, and strength at least 0.",
            )
        gone = self._worth(model, case, leaving=True)
        everybody = gone.plus(self._worth(model, case, leaving=False))
        alpha = self.alpha or min(_PUBLISHED, everybody.count / gone.count / 2)
        case.report.settled({"alpha": alpha} if self.alpha is None else {})
        dampened = _dampen(model, gone.means, everybody.means, alpha, self.strength)
        total = sum(value.numel() for value in gone.sums.values())
        case.report.note(f"{dampened:,} of {total:,} weights were dampened")
        return model

    def _worth(self, model: nn.Module, case: Case, *, leaving: bool) -> Worth:
        batches = case.forget if leaving else case.retain
        if self.importance == "fisher":
            return worth(model, batches, case.task.loss, most=self.subsample)
        return worth(model, batches, _Length(case.task), power=1, most=self.subsample)


@dataclass(frozen=True, slots=True)
class _Length:
    """The squared length of what a sample is answered."""

    task: Task

    def __call__(self, model: nn.Module, batch: Batch) -> Float[Tensor, " n"]:
        return call(model, self.task.inputs(batch)).flatten(1).square().sum(1)


@torch.no_grad()
def _dampen(
    model: nn.Module,
    own: Mapping[str, Tensor],
    usual: Mapping[str, Tensor],
    alpha: float,
    strength: float,
) -> int:
    """Shrink what is worth more here than usual, in place; return how many numbers that were."""
    count = 0
    for name, value in own.items():
        chosen = value > alpha * usual[name]
        share = (strength * usual[name] / value).clamp_max(1)
        parameter = model.get_parameter(name)
        parameter[chosen] *= share[chosen].to(parameter)
        count += int(chosen.sum())
    return count
