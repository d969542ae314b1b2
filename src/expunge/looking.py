"""Look into a model: which inputs do its answers rest on?

Other inputs go in through the task, one pass a step for all samples of a batch, so that whatever
else a batch holds still fits. Nothing is left in the model: no gradient, no mode, no weight.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.attributing import Score, integrated_gradients, rank_correlation
from expunge.batching import Batches
from expunge.errors import BatchUnreadable, MissingInput
from expunge.observing import device_of, evaluating
from expunge.splitting import Data, Part
from expunge.tasks import Batch, Task
from expunge.tasks.reading import moved

_PASS = 2**20  # numbers of input in one pass, so that activations stay small


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one model's answers rest on, and by how much the attributions miss their sum."""

    values: Float[Tensor, "n *d"]
    gap: float  # the largest, as a share of the mean gain from the baseline

    @property
    def strengths(self) -> Float[Tensor, "n d"]:
        """Absolute attributions, one row a sample."""
        return self.values.flatten(1).abs()

    @property
    def maps(self) -> Float[Tensor, "n h w"]:
        """Absolute attributions of pictures, their channels added up."""
        if self.values.ndim < 3 or min(self.values.shape[-2:]) < 2:
            raise MissingInput("the inputs are no pictures: they have no rows and columns")
        found = self.values.abs()
        return found if found.ndim == 3 else found.flatten(1, -3).sum(1)

    def likeness(self, others: "Sequence[Look]") -> Float[Tensor, " n"]:
        """Mean rank correlation with other models' maps; not a number where a map is constant."""
        found = [rank_correlation(self.strengths, other.strengths) for other in others]
        return torch.stack(found).mean(0)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The samples to look at. They are read once, in case the dataset transforms at random."""

    batches: Sequence[Batch]
    baseline: Float[Tensor, "*d"]
    task: Task

    @property
    def inputs(self) -> Float[Tensor, "n *d"]:
        """What every model reads."""
        return torch.cat([inputs_of(self.task, batch) for batch in self.batches])

    def look(self, model: nn.Module, steps: int) -> Look:
        """Attributions of the true class's logit, or MissingInput where there cannot be any."""
        device = device_of(model)
        with evaluating(model), torch.enable_grad():
            found = [self._one(model, moved(batch, device), steps) for batch in self.batches]
        values, gains = (torch.cat(parts) for parts in zip(*found, strict=True))
        if not values.isfinite().all():
            raise MissingInput("the attributions are not finite")
        gaps = (values.double().flatten(1).sum(1) - gains).abs()
        largest, usual = gaps.max().item(), gains.abs().mean().item()
        return Look(values, largest / usual if usual else largest)

    def _one(self, model: nn.Module, batch: Batch, steps: int) -> tuple[Tensor, Tensor]:
        x = inputs_of(self.task, batch)
        return _attributed(partial(_own_logit, model, self.task, batch), x, self.baseline, steps)


def read(source: Data, ids: Int[Tensor, " n"], task: Task) -> list[Batch]:
    """Samples in batches that are small where samples are large."""
    part = Part(source, ids)
    first = inputs_of(task, Batches(part).take(ids[:1]))
    return [*Batches(part, max(1, _PASS // max(1, first.numel())))]


def inputs_of(task: Task, batch: Batch, need: str = "attributions need") -> Tensor:
    """The inputs of a batch, or MissingInput where nothing can be differentiated."""
    x = task.inputs(batch)
    if isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1:
        return x
    told = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
    raise MissingInput(
        f"{need} inputs that are one floating-point tensor, not {told}",
        hint="let the task's inputs=... pick the one tensor that the answer rests on.",
    )


def shuffled(model: nn.Module) -> nn.Module:
    """A copy in which the numbers of every parameter stand in another order, always the same."""
    try:
        copy = deepcopy(model)
    except (RuntimeError, TypeError) as why:
        raise MissingInput(f"the model cannot be copied: {why}") from why
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in copy.parameters():
            order = torch.randperm(parameter.numel(), generator=draw).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view(parameter.shape))
    return copy


def _attributed(score: Score, x: Tensor, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Attributions, and what the score gains from the baseline to every sample."""
    start = start.to(x)
    try:
        values = integrated_gradients(score, x, start, steps)
    except (RuntimeError, BatchUnreadable) as why:
        raise MissingInput(
            f"the answer has no gradient with respect to the inputs: {str(why).splitlines()[0]}",
            hint="answers must be differentiable, and the task must put other inputs in.",
        ) from why
    with torch.no_grad():
        gains = score(x.clone()).double() - score(start.expand_as(x).clone()).double()
    return values.float().cpu(), gains.cpu()


def _own_logit(model: nn.Module, task: Task, batch: Batch, x: Tensor) -> Float[Tensor, " n"]:
    logits = task.answer(model, task.with_inputs(batch, x)).logits
    return logits.gather(1, task.labels(batch).long()[:, None]).squeeze(1).float()
