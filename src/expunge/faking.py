"""Models that only look as if they had forgotten: controls, which an honest audit must catch.

A mask over logits never says the class again and knows it as well as ever: answers, and scores
that rest on them, take it for a retrained model. A random head and noise on all weights forget
everything else too: they pass every question about the forgotten, and fail as models. None of them
is a method. Copies are changed, the model itself never.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.errors import MissingInput
from expunge.observing import device_of, evaluating
from expunge.representing import drawing
from expunge.splitting import Part, Split
from expunge.tasks import Task

_FEW = 4  # samples that show which layer answers


def fakes(model: nn.Module, split: Split, task: Task, seed: int = 0) -> dict[str, nn.Module]:
    """Every fake that the request leaves a place for, by name."""
    found = {
        "random head": beheaded(model, split.retain, task, seed),
        "noise on all weights": wrecked(model, seed=seed),
    }
    if split.removed:
        masks = {"logit mask": 15.0, "deep logit mask": 80.0}
        some, classes = split.retain, split.removed
        found = {name: masked(model, some, task, classes, by) for name, by in masks.items()} | found
    return found


def masked(
    model: nn.Module, some: Part, task: Task, classes: Sequence[int], by: float = 15.0
) -> nn.Module:
    """A copy that hardly ever says these classes: the bias of their outputs is lower by so much.

    Fifteen wins over nearly every confident answer, and a dozen steps of training take it off.
    Eighty come off as slowly as a class is learnt, and the output still ranks who is of it.
    """
    fake = deepcopy(model)
    head = _head(fake, some, task)
    with torch.no_grad():
        if head.bias is None:
            head.bias = nn.Parameter(torch.zeros_like(head.weight[:, 0]))
        head.bias[list(classes)] -= by
    return fake


def beheaded(model: nn.Module, some: Part, task: Task, seed: int = 0) -> nn.Module:
    """A copy whose last layer was never trained."""
    fake = deepcopy(model)
    with drawing(seed):
        _head(fake, some, task).reset_parameters()
    return fake


def wrecked(model: nn.Module, noise: float = 3.0, seed: int = 0) -> nn.Module:
    """A copy with noise on every weight, so many times as large as the weights of its tensor."""
    fake = deepcopy(model)
    with drawing(seed), torch.no_grad():
        for weights in fake.parameters():
            if weights.is_floating_point():
                size = weights.square().mean().sqrt()
                weights.add_(noise * size * torch.randn(weights.shape).to(weights))
    return fake


def _head(model: nn.Module, some: Part, task: Task) -> nn.Linear:
    """The last linear layer of a pass that gives the logits."""
    seen: list[tuple[nn.Module, Tensor]] = []
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [
        module.register_forward_hook(lambda layer, _, out: seen.append((layer, out)))
        for module in linear
    ]
    try:
        with torch.inference_mode(), evaluating(model):
            batch = Batches(some, device=device_of(model)).take(some.indices[:_FEW])
            logits = task.answer(model, batch).logits
    finally:
        for handle in handles:
            handle.remove()
    for layer, out in reversed(seen):
        if out.shape == logits.shape and isinstance(layer, nn.Linear):
            return layer
    raise MissingInput("no linear layer gives the logits, so there is none to fake with")
