"""Which layers of a model still say what the original's say: a mask behind them erases nothing.

Every layer before the features is heard on the same samples, and compared with every layer of the
original: by how alike samples are to each other in both (centred kernel alignment, after Kornblith,
Norouzi, Lee and Hinton, Similarity of Neural Network Representations Revisited, 2019, without its
bias). Columns are made of one size first. So neither the names of layers count, nor the order or
the scale of their units, nor a little noise on their weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.guessing import Standard
from expunge.observing import device_of, evaluating
from expunge.representing import rows_of, tensor_of
from expunge.reserving import Reserve
from expunge.tasks import Task

_SOME = 256  # samples on which layers are compared
_FEW = 4  # samples; of fewer nobody can say how alike they are
_ALIKE = 0.99  # a layer that is nearer to one of the original's says the same
_SAME = 1e-9  # of two alignments
_NEAR = 1e-3  # of the length of weights; such a difference makes no other layer


@dataclass(frozen=True, slots=True)
class Kept:
    """Layers before the features that say what one of the original's says."""

    pairs: tuple[tuple[str, str], ...]  # their names, and those in the original; the last one last
    weighted: int  # how many of them have weights
    of: int  # how many layers with weights there are before the features

    @property
    def share(self) -> float:
        """Of the layers with weights, how many say what they said."""
        return self.weighted / max(1, self.of)


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What one layer said."""

    name: str
    weighted: bool
    alike: Float[Tensor, " p"] | None  # how alike samples are in it; None: no numbers, or all one
    last: bool  # it said the features, or was given them


def kept(before: nn.Module, after: nn.Module, reserve: Reserve, task: Task) -> Kept:
    """Compare the layers of two models, as far as their features."""
    theirs, ours = (_on_the_way(model, reserve, task) for model in (before, after))
    same = [_nearest(call, theirs) for call in ours]
    learnt = [any(call.weighted for call in ours[: k + 1]) for k in range(len(ours))]
    pairs = tuple(
        (call.name, other)
        for call, other, counts in zip(ours, same, learnt, strict=True)
        if other is not None and counts  # before any weights every model says the same
    )
    weighted = [other for call, other in zip(ours, same, strict=True) if call.weighted]
    return Kept(pairs, sum(other is not None for other in weighted), len(weighted))


def weighted(model: nn.Module, reserve: Reserve, task: Task) -> list[str]:
    """The layers with weights that features are made by, in the order of the pass."""
    return [call.name for call in _on_the_way(model, reserve, task) if call.weighted]


def holds(after: nn.Module, before: nn.Module, layers: Sequence[str]) -> bool:
    """Whether all that these layers of one model know stands in another, wherever that is."""
    there = [x.detach().double() for x in after.state_dict().values() if x.is_floating_point()]
    modules = dict(before.named_modules())
    wanted = [x for name in layers for x in _own(modules[name])]
    return bool(wanted) and all(any(_close(x, each) for each in there) for x in wanted)


def _own(module: nn.Module) -> Iterator[Tensor]:
    for x in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if x.is_floating_point():
            yield x.detach().double()


def _close(x: Tensor, other: Tensor) -> bool:
    return x.shape == other.shape and bool((x - other).norm() <= _NEAR * x.norm())


def _nearest(call: _Call, others: Sequence[_Call]) -> str | None:
    """The layer that says the same, if there is one; of several that of the same name, or last."""
    if call.alike is None:
        return None
    near = [(float(call.alike @ o.alike), o.name) for o in others if o.alike is not None]
    best = max((each for each, _ in near), default=0.0)
    if best < _ALIKE:
        return None
    names = [name for each, name in near if each > best - _SAME]
    return call.name if call.name in names else names[-1]


def _on_the_way(model: nn.Module, reserve: Reserve, task: Task) -> list[_Call]:
    """What layers said in one pass, in their order, before any said or was given the features."""
    rows = torch.linspace(0, len(reserve) - 1, min(_SOME, len(reserve))).long().unique()
    batch = reserve.take(rows, device_of(model), task)
    with torch.inference_mode(), evaluating(model):
        features = task.answer(model, batch).embedding.clone()
        with _heard(model, features) as calls:
            task.answer(model, batch)
    last = [call.last for call in calls]
    return calls[: last.index(True)] if True in last else calls


@contextmanager
def _heard(model: nn.Module, features: Float[Tensor, "n d"]) -> Iterator[list[_Call]]:
    calls: list[_Call] = []
    named = [(name, module) for name, module in model.named_modules() if name]
    handles = [m.register_forward_hook(partial(_hear, calls, name, features)) for name, m in named]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _hear(
    calls: list[_Call], name: str, features: Tensor, module: nn.Module, args: Any, output: Any
) -> None:
    told, size = tensor_of(output), len(features)
    ends: list[Any] = [x for x in (args[0] if args else None, told) if _is_table(x, size)]
    last = any(torch.equal(x.flatten(1), features) for x in ends)
    own = any(p.is_floating_point() for p in module.parameters(recurse=False))
    calls.append(_Call(name, own, _likeness(told, size) if _is_table(told, size) else None, last))


def _is_table(x: Any, size: int) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1 and len(x) == size


def _likeness(x: Tensor, size: int) -> Float[Tensor, " p"] | None:
    """How alike samples are by their rows, as a vector of length one."""
    if size < _FEW:
        return None
    rows = rows_of(x, size, "").cpu().double()
    products = Standard.of(rows)(rows)
    products = (products @ products.mT).fill_diagonal_(0)
    # As if of all samples, and not of these: rows of many columns are as alike by chance.
    sums = products.sum(0)
    centred = products - (sums[:, None] + sums) / (size - 2)
    centred += sums.sum() / ((size - 1) * (size - 2))
    length = centred.fill_diagonal_(0).norm()
    return (centred / length).flatten() if length > 0 and length.isfinite() else None
