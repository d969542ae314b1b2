"""Running statistics of BatchNorm, computed anew from retained samples alone.

They are no parameters: no gradient takes out of them what the forget set put in.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.observing import evaluating
from expunge.tasks import Task

_MOST = 100  # batches that are averaged


def norms(model: nn.Module) -> dict[str, Any]:
    """The layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if getattr(module, "track_running_stats", False)
        and isinstance(getattr(module, "running_mean", None), Tensor)
    }


def live(model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Any]:
    """The layers whose statistics training changed since the model had this state."""
    return {
        name: norm
        for name, norm in norms(model).items()
        if not torch.equal(norm.running_mean.cpu(), before[f"{name}.running_mean"].cpu())
    }


def steady(model: nn.Module, before: Mapping[str, Tensor]) -> bool:
    """Whether every buffer is as it was: what training puts there, no gradient takes out."""
    return all(torch.equal(value.cpu(), before[name].cpu()) for name, value in _kept(model))


def _kept(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    state = model.state_dict()
    return ((name, state[name]) for name, _ in model.named_buffers() if name in state)


@torch.no_grad()
def renew(model: nn.Module, names: Iterable[str], batches: Batches, task: Task) -> None:
    """Average the statistics of these layers over batches, as if they had seen nothing before."""
    found = norms(model)
    chosen = [found[name] for name in names]
    usual = [norm.momentum for norm in chosen]
    with evaluating(model):
        for norm in chosen:
            norm.reset_running_stats()
            norm.momentum = None  # an average of all batches alike
            norm.train()
        for batch in islice(batches, _MOST if chosen else 0):
            task.answer(model, batch)
    for norm, momentum in zip(chosen, usual, strict=True):
        norm.momentum = momentum
