"""Read models at some samples: their features, their logits, and layers by name.

All places are read in one pass. Maps of many channels become means over squares, and sequences
means over their length, until few numbers are left.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.batching import Batches
from expunge.errors import BatchUnreadable, MissingInput
from expunge.observing import BATCH, device_of, evaluating
from expunge.splitting import Part
from expunge.tasks import Batch, Task

FEATURES, LOGITS = "feature layer", "the logits"
"""Where every model is read; other places are layers, by name, and no layer has such a name."""

Places = Mapping[str, Float[Tensor, "n _"]]
"""What a model makes of every sample, by the place where it was read."""

_CPU = torch.device("cpu")
_FEW = 4  # samples that show which layers a model uses
_NUMBERS = 2048  # of a map or a sequence, at most


@runtime_checkable
class Readable(Protocol):
    """Samples that can be read in order, and some of them at once."""

    def __len__(self) -> int: ...

    def batches(self, device: torch.device = ...) -> Iterator[Batch]:
        """All samples, in order."""

    def take(self, rows: Int[Tensor, " _"], device: torch.device, task: Task) -> Batch:
        """Some samples in one batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Samples of one part, in its order."""

    part: Part

    def __len__(self) -> int:
        return len(self.part)

    def batches(self, device: torch.device = _CPU) -> Iterator[Batch]:
        """All samples, in order."""
        yield from Batches(self.part, BATCH, device=device)

    def take(self, rows: Int[Tensor, " _"], device: torch.device, task: Task) -> Batch:
        """Some samples in one batch."""
        del task
        return Batches(self.part, device=device).take(self.part.indices[rows])


def represent(
    model: nn.Module, reserve: Readable, task: Task, layers: Sequence[str] = ()
) -> dict[str, Tensor]:
    """What a model makes of every sample: its features, its logits, and the layers that it uses."""
    seen: list[dict[str, Tensor]] = []
    with torch.inference_mode(), evaluating(model), watched(model, layers) as there:
        for batch in reserve.batches(device_of(model)):
            answer = task.answer(model, batch)
            places = {FEATURES: answer.embedding, LOGITS: answer.logits, **there}
            size = len(answer.logits)
            seen.append({name: rows_of(x, size, name).cpu() for name, x in places.items()})
    return {name: _whole([places[name] for places in seen], name) for name in seen[0]}


def between(
    models: Sequence[nn.Module], reserve: Readable, task: Task, most: int
) -> tuple[str, ...]:
    """Layers with weights that all models use, by name: at most so many, from the inputs on."""
    some = torch.arange(min(len(reserve), _FEW))
    used = [_used(model, reserve.take(some, device_of(model), task), task) for model in models]
    shared = [name for name in used[0] if all(name in other for other in used)]
    count = min(most, len(shared))
    return tuple(shared[len(shared) * k // count] for k in range(count))


def inputs_of(reserve: Readable, task: Task) -> Float[Tensor, "n d"]:
    """What every model reads, as rows of numbers."""
    found = []
    for batch in reserve.batches():
        x = task.inputs(batch)
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise MissingInput("the inputs are not one tensor of floating-point numbers")
        found.append(rows_of(x, len(x), "inputs").cpu())
    return _whole(found, "inputs")


def untrained(
    build: Callable[[], nn.Module] | None, device: torch.device, seed: int = 0
) -> nn.Module:
    """A fresh model; by one seed always the same, and no draw of it disturbs any other."""
    if build is None:
        raise MissingInput(
            "no way to build an untrained model was given", hint="pass build=recipe.build."
        )
    with drawing(seed):
        return build().to(device)


def thawed(model: nn.Module) -> nn.Module:
    """A copy, of which every weight may learn: whoever holds it need not heed what was frozen."""
    try:
        copy = deepcopy(model)
    except (RuntimeError, TypeError) as why:
        raise MissingInput(f"the model cannot be copied: {why}") from why
    for parameter in copy.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return copy


@contextmanager
def drawing(seed: int = 0) -> Iterator[None]:
    """Seed torch for a while, and give its generators back as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=[*devices]):
        torch.manual_seed(seed)
        yield


def _used(model: nn.Module, batch: Batch, task: Task) -> list[str]:
    """Layers with weights of their own that give a row a sample, in the order of the pass."""
    layers = [name for name, m in model.named_modules() if name and [*m.parameters(recurse=False)]]
    with torch.inference_mode(), evaluating(model), watched(model, layers) as seen:
        size = len(task.answer(model, batch).logits)
    return [name for name, x in seen.items() if isinstance(x, Tensor) and x.shape[:1] == (size,)]


@contextmanager
def watched(model: nn.Module, layers: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """What named layers gave in the latest pass."""
    modules, seen = dict(model.named_modules()), dict[str, Any]()
    there = [name for name in layers if name in modules]
    handles = [modules[name].register_forward_hook(partial(_keep, seen, name)) for name in there]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _keep(seen: dict[str, Any], name: str, _module: nn.Module, _args: Any, output: Any) -> None:
    seen[name] = tensor_of(output)


def tensor_of(output: Any) -> Any:
    """What a layer says, of all that it returns."""
    found = getattr(output, "last_hidden_state", output)
    return found[0] if isinstance(found, (tuple, list)) and found else found


def rows_of(x: Any, size: int, name: str) -> Float[Tensor, "n _"]:
    """One row a sample; maps become means over squares, and sequences means over their length."""
    if not isinstance(x, Tensor) or not x.ndim or len(x) != size:
        raise BatchUnreadable(
            f"the layer {name!r} does not give one tensor with a row a sample",
            hint="name a layer whose output is a tensor that starts with the samples.",
        )
    found: Tensor = x.float()
    if found.ndim == 3 and found[0].numel() > _NUMBERS:
        found = found.mean(1)
    if found.ndim == 4:
        side = max(1, isqrt(_NUMBERS // max(1, found.shape[1])))
        height, width = (min(side, length) for length in found.shape[2:])
        found = F.adaptive_avg_pool2d(found, (height, width))
    return found.reshape(size, -1)


def _whole(rows: Sequence[Tensor], name: str) -> Float[Tensor, "n _"]:
    found = torch.cat([*rows])
    if found.isfinite().all():
        return found
    raise MissingInput(f"not all numbers of the {name} are finite")
