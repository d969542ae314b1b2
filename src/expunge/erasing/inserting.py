"""Put an erasure where a model's features are read, so that whoever reads them finds them erased.

It goes right before the linear layer that makes the answers, or right after the layer that the task
names. Its numbers never learn: they are buffers. They are kept in double precision, because of what
a rounded map leaves of an attribute, however little, a probe can make much again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.algebra.affine import is_affine
from expunge.algebra.erasure import Map
from expunge.errors import Diverged, ModelDoesNotFit
from expunge.tasks import Answer, Batch, Task

_NAME_ONE = "pass the task layer=..., a layer that runs once and returns one tensor."


class Erasure(nn.Module):
    """An affine map of all that a sample has at one place."""

    matrix: Tensor
    bias: Tensor

    def __init__(self, edit: Map, device: torch.device) -> None:
        """Hold a map, in the place where features come from."""
        super().__init__()
        self.register_buffer("matrix", edit.matrix.to(device))
        self.register_buffer("bias", edit.bias.to(device))

    @property
    def map(self) -> Map:
        """The map as it stands."""
        return Map(self.matrix.double().cpu(), self.bias.double().cpu())

    def hold(self, edit: Map) -> None:
        """Take another map in place of this one."""
        device = self.matrix.device
        self.matrix, self.bias = edit.matrix.to(device), edit.bias.to(device)

    def forward(self, x: Tensor) -> Tensor:
        """The same features, erased, in the shape and precision in which they came."""
        edit = Map(self.matrix.double(), self.bias.double())
        return edit(x.flatten(1)).view(x.shape)


class ErasedInput(nn.Module):
    """A layer that reads what an erasure leaves."""

    def __init__(self, layer: nn.Module, erasure: Erasure) -> None:
        """Erase before the layer."""
        super().__init__()
        self.before, self.layer = erasure, layer

    def forward(self, x: Tensor) -> Any:
        """What the layer says of erased features."""
        return self.layer(self.before(x))


class ErasedOutput(nn.Module):
    """A layer of which an erasure lets through only a part."""

    def __init__(self, layer: nn.Module, erasure: Erasure) -> None:
        """Erase after the layer."""
        super().__init__()
        self.layer, self.after = layer, erasure

    def forward(self, *args: Any, **named: Any) -> Tensor:
        """What the layer says, erased."""
        erased: Tensor = self.after(self.layer(*args, **named))
        return erased


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where features are read: right before a layer, or right after one."""

    layer: nn.Module
    name: str
    before: bool
    head: nn.Linear | None  # makes the answers from these features; None: no layer does so directly
    erasure: Erasure | None  # that is there already
    features: Float[Tensor, "n d"]  # what was read there when it was found

    @property
    def map(self) -> Map:
        """What is done to the features there already."""
        return _identity(self.features.shape[1]) if self.erasure is None else self.erasure.map

    def __str__(self) -> str:
        """The place in words."""
        layer = f"the layer {self.name!r}" if self.name else "the model"
        return f"right {'before' if self.before else 'after'} {layer}"


@torch.no_grad()
def find(model: nn.Module, task: Task, batch: Batch) -> Place:
    """Look at one pass for where the features are read; refuse where an erasure could be evaded."""
    with _heard(model) as calls:
        answer = task.answer(model, batch)
    x, named = answer.embedding, str(getattr(task, "layer", "auto"))
    readers = {m: call for call in calls if (m := call.reader_of(x)) is not None}
    before = named == "auto"
    layer = _only(model, [*readers]) if before else model.get_submodule(named)
    name = _name(model, layer)
    _check_runs(name, [call for call in calls if call.module is layer], before=before)
    heads = [m for m, call in readers.items() if call.answers(answer, task)]
    there = _erasure_at(model, layer, before=before)
    return Place(layer, name, before, heads[-1] if heads else None, there, x)


@contextmanager
def lifted(erasure: Erasure | None) -> Iterator[None]:
    """Let the features pass for a while as if there were no erasure."""
    if erasure is None:
        yield
        return
    held = erasure.map
    erasure.hold(_identity(len(held.bias)))
    try:
        yield
    finally:
        erasure.hold(held)


def put(model: nn.Module, place: Place, edit: Map) -> nn.Module:
    """The model with an erasure at this place; one that is there already takes the map up."""
    if place.erasure is not None:
        place.erasure.hold(edit.after(place.map))
        return model
    kind = ErasedInput if place.before else ErasedOutput
    return replaced(model, place.layer, kind(place.layer, Erasure(edit, place.features.device)))


def replaced(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """The model with another layer wherever this one is registered."""
    names = [n for n, m in model.named_modules(remove_duplicate=False) if m is old]
    if model is old:
        return new
    for name in names:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, new)
    return model


@torch.no_grad()
def read(model: nn.Module, task: Task, batch: Batch, place: Place) -> Float[Tensor, "n d"]:
    """The features at a place, as they are before an erasure that is there already."""
    if place.erasure is None:
        return place.features
    with lifted(place.erasure):
        return task.answer(model, batch).embedding


@torch.no_grad()
def check(model: nn.Module, task: Task, batch: Batch, want: Float[Tensor, "n d"]) -> None:
    """Refuse a model in which other features are read than those that the erasure left."""
    try:
        found = task.answer(model, batch).embedding
    except AttributeError as why:
        raise ModelDoesNotFit(
            f"the model uses more of its layer than what it answers: {why}", hint=_NAME_ONE
        ) from why
    if found.shape != want.shape or not _close(found, want):
        raise ModelDoesNotFit(
            "the features that are read are not those that were erased",
            hint="name a layer whose output no later layer overwrites, and whose weights the model "
            "uses by calling it.",
        )


def finite(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The features, if they are numbers."""
    if bool(x.isfinite().all()):
        return x
    raise Diverged(
        "features are to be erased that are not finite",
        hint="look for them in the data, or in the layers before these features.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One run of a layer."""

    module: nn.Module
    x: Any  # the first thing that went in
    out: Any

    def reader_of(self, features: Float[Tensor, "n d"]) -> nn.Linear | None:
        """The layer, if it is a linear one that was given the features."""
        if not isinstance(self.module, nn.Linear) or not isinstance(self.x, Tensor):
            return None
        given = self.x.ndim > 1 and torch.equal(self.x.flatten(1), features)
        return self.module if given else None

    def answers(self, answer: Answer, task: Task) -> bool:
        """Whether what it says of a sample's features is the model's answer, or makes the same."""
        if not is_affine(self.module) or self.x.ndim != 2:
            return False
        if self.out.numel() != answer.logits.numel():
            return False
        said, told = self.out.reshape(answer.logits.shape), answer.logits
        if task.kind == "classification":  # logits that differ by a constant say the same
            said, told = said.log_softmax(1), told.log_softmax(1)
        return _close(said, told)


@contextmanager
def _heard(model: nn.Module) -> Iterator[list[_Call]]:
    """Listen to all layers, in the order in which they run."""
    calls: list[_Call] = []

    def hear(module: nn.Module, args: Any, out: Any) -> None:
        calls.append(_Call(module, args[0] if args else None, out))

    handles = [module.register_forward_hook(hear) for module in model.modules()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _only(model: nn.Module, readers: list[nn.Linear]) -> nn.Module:
    """The one layer that reads the features: before several, they would have to be erased twice."""
    if len(readers) == 1:
        return readers[0]
    names = " and ".join(repr(_name(model, layer)) for layer in readers) or "no linear layer"
    raise ModelDoesNotFit(
        f"the features are read by {names}, where one linear layer should make the answers",
        hint="pass the task layer=..., the name of the layer that makes the features.",
    )


def _check_runs(name: str, runs: list[_Call], *, before: bool) -> None:
    """Refuse a layer that runs several times, or of which there is not one tensor to erase from."""
    if len(runs) != 1:
        raise ModelDoesNotFit(
            f"the layer {name!r} runs {len(runs)} times in one pass, each time on other features",
            hint=_NAME_ONE,
        )
    if not (before or isinstance(runs[0].out, Tensor)):
        raise ModelDoesNotFit(
            f"the layer {name!r} returns a {type(runs[0].out).__name__}, not one tensor",
            hint=_NAME_ONE,
        )


def _erasure_at(model: nn.Module, layer: nn.Module, *, before: bool) -> Erasure | None:
    """The erasure that is at a place already; a name may lead to it, or to what is around it."""
    if isinstance(layer, Erasure):
        return layer
    if not before:
        return layer.after if isinstance(layer, ErasedOutput) else None
    readers = (m for m in model.modules() if isinstance(m, ErasedInput) and m.layer is layer)
    return next((reader.before for reader in readers), None)


def _identity(d: int) -> Map:
    return Map(torch.eye(d, dtype=torch.double), torch.zeros(d, dtype=torch.double))


def _name(model: nn.Module, layer: nn.Module) -> str:
    names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
    return names[layer]


def _close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are one up to rounding."""
    apart, size = (a.double() - b.double()).abs().max(), b.double().abs().max().clamp_min(1)
    return bool(apart <= 100 * torch.finfo(b.dtype).eps * size)
