"""Whether what a model says can be believed, before any of it is measured.

A model that draws at random, or that answers otherwise the second time, shows an audit what it
likes: it is asked twice. Features that the answers do not come from say nothing about the model:
every sample is given those of another, and the answers must change with them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.errors import MissingInput
from expunge.observing import BATCH, Observation, device_of, evaluating
from expunge.representing import tensor_of
from expunge.reserving import Reserve
from expunge.tasks import Answer, Batch, Task

_APART = 0.01  # of the spread of a column; what differs by more is another answer
_ROUNDING = 1e-3  # of the size of all columns; half precision is as coarse
_PART = 0.01  # of how far answers of different samples lie apart; what moves them less has no part


def check(model: nn.Module, reserve: Reserve, task: Task) -> str:
    """Refuse a model that cannot be believed; say if some of its answers come from elsewhere."""
    rows = torch.linspace(0, len(reserve) - 1, min(BATCH, len(reserve))).long().unique()
    batch = reserve.take(rows, device_of(model), task)
    with torch.inference_mode(), evaluating(model):
        with _listening(model) as readers:
            first = task.answer(model, batch)
        again = task.answer(model, batch)
        layer = str(getattr(task, "layer", "auto"))
        steady("the answers", first.logits, again.logits)
        steady("the features", first.embedding, again.embedding)
        return _path(model, task, batch, first, _ends(model, layer, readers, first))


def same_as_before(first: Observation, again: Float[Tensor, "m c"]) -> None:
    """Refuse answers to held-out samples, the test set last, that are not those of an audit."""
    test = first.logits.flatten(1)[first.ids.argsort()]
    steady("the answers", test, again[-len(test) :])


def steady(what: str, first: Float[Tensor, "n *c"], again: Float[Tensor, "n *c"]) -> None:
    """Refuse answers to the same question that differ by more than rounding."""
    one, other = (x.double().reshape(len(x), -1) for x in (first, again))
    apart = (one - other).square().mean(0).sqrt()
    near = _APART * one.std(0, correction=0) + _ROUNDING * one.square().mean().sqrt()
    if not bool((apart <= near).all()):
        raise MissingInput(
            f"the model cannot be believed: {what} of the same samples are others when it is asked "
            f"again",
            hint="switch off whatever draws at random, or counts, in evaluation mode.",
        )


Taps = Sequence[tuple[nn.Module, bool]]
"""Layers where features can be changed; true: as they come in, false: as they go out."""


def _ends(model: nn.Module, layer: str, readers: Sequence[Any], answer: Answer) -> Taps:
    """The named layer, or else the linear layers that are given the features."""
    modules = dict(model.named_modules())
    if layer in modules:
        return [(modules[layer], False)]
    x = answer.embedding
    return [(m, True) for m, given in readers if given.shape == x.shape and torch.equal(given, x)]


def _path(model: nn.Module, task: Task, batch: Batch, answer: Answer, taps: Taps) -> str:
    """Give everybody the features of another, and look at the answers."""
    told = answer.logits.double()
    want, scale = _turned(told), (_turned(told) - told).norm()
    if not taps or not scale:
        return ""  # nobody knows where the features are, or all answers are the same
    with _crossed(taps):
        found = task.answer(model, batch).logits.double()
    if (found - told).norm() < _PART * scale:
        raise MissingInput(
            "the features have no part in the answers: these stay where a sample is given the "
            "features of another",
            hint="let the task name a layer that the answers are made from: layer=....",
        )
    whole = (found - want).norm() < _PART * scale
    return "" if whole else "; the answers come from other features as well"


@contextmanager
def _listening(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """What every linear layer is given."""
    heard: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, args: Any) -> None:
        if args and isinstance(args[0], Tensor) and args[0].ndim > 1:
            heard.append((module, args[0].flatten(1)))

    handles = [
        m.register_forward_pre_hook(keep) for m in model.modules() if isinstance(m, nn.Linear)
    ]
    with _removing(handles):
        yield heard


@contextmanager
def _crossed(taps: Taps) -> Iterator[None]:
    """Let layers be given, or say, what they would of another sample."""

    def before(_module: nn.Module, args: Any) -> Any:
        return (_turned(args[0]), *args[1:])

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        return _replaced(output, _turned)

    with _removing(
        [
            m.register_forward_pre_hook(before) if comes else m.register_forward_hook(after)
            for m, comes in taps
        ]
    ):
        yield


@contextmanager
def _removing(handles: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _replaced(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same output, with that changed which counts as what the layer says."""
    told = tensor_of(output)
    if not isinstance(told, Tensor):
        return output
    if output is told:
        return change(told)
    if isinstance(output, (tuple, list)) and output[0] is told:
        return type(output)([change(told), *output[1:]])
    output.last_hidden_state = change(told)
    return output


def _turned(x: Tensor) -> Tensor:
    return x.roll(1, 0)
