"""Put another head on a network's features, read what goes into it, and remember of whom it is.

Samples are always read in the same blocks of the training set, whoever is asked for: features are
rounded otherwise in other company, and who is taken out must be exactly who was put in.

A head that says of whom it is would name who left to everybody who gets the model. Such buffers are
named in its ``private``; once somebody left, they are no part of its state.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.erasing.inserting import find
from expunge.errors import ModelDoesNotFit
from expunge.method import Case
from expunge.observing import BATCH, device_of, evaluating
from expunge.splitting import Data, Part
from expunge.tasks import Task
from expunge.tasks.reading import call

H = TypeVar("H", bound=nn.Module)
L = TypeVar("L", bound=nn.Linear)

_FEW = 8  # samples that show which layer is the head


def found(model: nn.Module, kind: type[H]) -> H | None:
    """The head of this kind that the model has; None: it has another one."""
    return next((module for module in model.modules() if isinstance(module, kind)), None)


def plain(model: nn.Module, task: Task, source: Data) -> nn.Linear:
    """The linear layer that makes the model's answers; one that is frozen is refused."""
    few = Batches(Part.whole(source), device=device_of(model)).take(
        torch.arange(len(source))[:_FEW]
    )
    with evaluating(model):
        place = find(model, task, few)
    if place.head is None or not place.before:
        raise ModelDoesNotFit(
            f"the features {place} are not read by a linear layer that makes the answers",
            hint='use a model whose last layer is nn.Linear, and a task with layer="auto".',
        )
    return free(place.head)


def free(head: L) -> L:
    """The head, if it may learn: one that is frozen is neither replaced nor moved."""
    if all(p.requires_grad for p in head.parameters()):
        return head
    raise ModelDoesNotFit(
        "the layer that makes the answers is frozen, and cannot be fitted again",
        hint="set requires_grad on it, or use a method that changes other layers.",
    )


@torch.no_grad()
def read(
    model: nn.Module, head: nn.Module, task: Task, source: Data, ids: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n d"], Shaped[Tensor, "n *k"]]:
    """What goes into a head for these samples, in double precision, and their labels."""
    batches, rows, labels = Batches(Part.whole(source), device=device_of(model)), [], []
    wanted = torch.zeros(len(source), dtype=torch.bool)
    wanted[ids] = True
    with evaluating(model), _heard(head) as heard:
        for block in torch.arange(len(source)).split(BATCH):
            chosen = wanted[block]
            if not chosen.any():
                continue
            batch = batches.take(block)
            call(model, task.inputs(batch))
            rows.append(heard.pop().flatten(1)[chosen].double())
            labels.append(task.labels(batch)[chosen])
    order = ids.argsort().argsort()
    return torch.cat(rows)[order], torch.cat(labels)[order]


def parted(present: Bool[Tensor, " n"], case: Case) -> tuple[Int[Tensor, " m"], Int[Tensor, " s"]]:
    """Who leaves a model that was made of those present, and who stays in it."""
    size = len(case.retain.part.source)
    if not len(present):
        raise ModelDoesNotFit(
            "the file of this model does not say of whom it was made",
            hint="keep members.safetensors of its run beside it; where a purge has removed that, "
            "prepare a model of those who stay.",
        )
    if len(present) != size:
        raise ModelDoesNotFit(
            f"the model was made of a training set of {len(present):,} samples, this one has "
            f"{size:,}",
            hint="pass the training set that it was made of, each sample in its place.",
        )
    here = present.cpu()
    leaves, stays = case.forget.part.indices, case.retain.part.indices
    return leaves[here[leaves]], stays[here[stays]]


def silent(model: nn.Module) -> nn.Module:
    """The model, whose state leaves out of whom its heads are: no file of it tells who left."""
    for module in model.modules():
        for name in getattr(module, "private", ()):
            module.register_buffer(name, module.get_buffer(name), persistent=False)
    return model


def withheld(model: nn.Module) -> dict[str, Tensor]:
    """What heads know of whom they are, and the state of the model leaves out."""
    state = model.state_dict()
    known = {
        f"{place}.{name}".lstrip("."): module.get_buffer(name)
        for place, module in model.named_modules()
        for name in getattr(module, "private", ())
    }
    return {name: value for name, value in known.items() if name not in state}


def recall(model: nn.Module, state: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> None:
    """Make heads ready for a state that may leave out of whom they are; where it is known, say it.

    A head that is told nothing knows nobody, and `parted` refuses it.
    """
    for place, module in model.named_modules():
        for name in getattr(module, "private", ()):
            full, held = f"{place}.{name}".lstrip("."), module.get_buffer(name)
            told = state.get(full, known.get(full, held[:0])).to(held.device)
            module.register_buffer(name, told, persistent=full in state)
        for name in getattr(module, "grows", ()):
            full, held = f"{place}.{name}".lstrip("."), getattr(module, name, None)
            if held is not None and full in state:
                setattr(module, name, state[full].to(held))


@contextmanager
def _heard(head: nn.Module) -> Iterator[list[Tensor]]:
    """What goes into a layer, pass by pass."""
    rows: list[Tensor] = []

    def hear(_module: nn.Module, args: Any) -> None:
        rows.append(args[0].detach())

    handle = head.register_forward_pre_hook(hear)
    try:
        yield rows
    finally:
        handle.remove()
