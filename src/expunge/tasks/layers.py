"""Features from a named layer, or from the input of the last Linear, in the same forward pass."""

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from expunge.errors import BatchUnreadable
from expunge.tasks.task import Answer

AUTO = "auto"


def answered(model: nn.Module, layer: str, call: Callable[[], Tensor]) -> Answer:
    """Run ``call`` once; return its logits with the features that ``layer`` names."""
    return _auto(model, call) if layer == AUTO else _from(model, layer, call)


def _auto(model: nn.Module, call: Callable[[], Tensor]) -> Answer:
    """Find the input of the Linear whose output the logits are, or are but for their normaliser.

    Where there is none, because something is done to the logits yet, it is the last one to run
    whose output is as large: the order of registration may be another.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    idle = {module for module in model.modules() if isinstance(module, nn.Linear)}

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        idle.discard(module)
        if args:
            seen.append((args[0], output))

    with _hooked([*idle], keep):
        logits = call()
    large = [(x, said) for x, said in seen if said.numel() == logits.numel()]
    exact = [x for x, said in large if _is_said(logits, said)] if len(large) > 1 else []
    makers = exact or [x for x, _ in large]
    if not makers or len(makers[-1]) != len(logits):
        return Answer(logits, None, _candidates(model, idle), AUTO)
    return Answer(logits, makers[-1].flatten(1))


def _is_said(logits: Tensor, said: Tensor) -> bool:
    if said is logits:
        return True
    said = said.reshape(logits.shape)
    if torch.equal(said, logits):
        return True
    return logits.ndim > 1 and torch.equal(said.log_softmax(-1), logits)


def _from(model: nn.Module, layer: str, call: Callable[[], Tensor]) -> Answer:
    modules = {name: module for name, module in model.named_modules() if name and _runs(module)}
    if layer not in modules:
        return Answer(call(), None, tuple(modules), layer)
    seen: list[Any] = []
    with _hooked([modules[layer]], lambda _module, _args, output: seen.append(output)):
        logits = call()
    if not seen:
        raise BatchUnreadable(
            f"the layer {layer!r} took no part in the forward pass",
            hint="name a layer that the model calls as a module.",
        )
    return Answer(logits, _rows(seen[-1], layer))


@contextmanager
def _hooked(modules: Iterable[nn.Module], keep: Callable[..., None]) -> Iterator[None]:
    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _candidates(model: nn.Module, idle: Container[nn.Module]) -> tuple[str, ...]:
    """The last layers that could be named; of ``idle`` ones it is known that nobody calls them."""
    leaves = {name: m for name, m in model.named_modules() if name and not [*m.children()]}
    return tuple(name for name, m in leaves.items() if _runs(m) and m not in idle)[-12:]


def _runs(module: nn.Module) -> bool:
    """Whether a module can be called: one that only holds others cannot."""
    return getattr(module.forward, "__func__", None) is not nn.Module.forward


def _rows(output: Any, layer: str) -> Tensor:
    found = getattr(output, "last_hidden_state", output)
    found = found[0] if isinstance(found, (tuple, list)) and found else found
    if isinstance(found, Tensor) and found.ndim > 1:
        return found.flatten(1)
    raise BatchUnreadable(
        f"the layer {layer!r} does not give one tensor of rows, but {type(output).__name__}",
        hint="name a layer whose output is one row of numbers a sample.",
    )
