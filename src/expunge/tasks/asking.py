"""Ask a model about a batch; where it cannot be asked, say what the two do not share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from expunge.errors import BatchUnreadable
from expunge.tasks.reading import mapped

_FAULTS = (RuntimeError, TypeError, IndexError)
"""What torch raises where types, shapes, keywords or numbers are not those of the model."""


@contextmanager
def understood(model: nn.Module, batch: Any, task: Any) -> Iterator[None]:
    """Whatever torch raises about this batch is told with it; too little memory is no fault."""
    try:
        yield
    except _FAULTS as why:
        if out_of_memory(why) or isinstance(why, NotImplementedError):
            raise
        first = (str(why) or type(why).__name__).splitlines()[0]
        raise BatchUnreadable(
            f"the model cannot be asked about a batch of {_told(batch)}: {first}",
            hint=_advice(model, getattr(task, "inputs", lambda whole: whole)(batch)),
        ) from why


def out_of_memory(why: BaseException) -> bool:
    """Whether that was the machine's fault: on a CPU torch has no error of its own for it."""
    return isinstance(why, torch.OutOfMemoryError) or "allocate memory" in str(why)


def _advice(model: nn.Module, inputs: Any) -> str:
    """How to give it the type it wants, where that differs; else, where to change what it gets."""
    wanted = {p.dtype for p in model.parameters() if p.is_floating_point()}
    given = {leaf.dtype for leaf in _leaves(inputs)}
    floats = {kind for kind in given if kind.is_floating_point}
    if len(wanted) == 1 and floats and not floats & wanted:
        (kind,) = wanted
        return f"give the dataset inputs of {kind}, as in training."
    if given == {torch.uint8}:
        return "turn bytes into numbers in the dataset, as in training: x.float() / 255, say."
    return (
        "pass the task inputs=..., a function from a batch to what the model was trained on, or "
        "give the dataset the shapes and numbers of training."
    )


def _told(batch: Any) -> str:
    match batch:
        case Tensor():
            return f"{str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}"
        case Mapping():
            inside = ", ".join(f"{key}: {_told(value)}" for key, value in batch.items())
            return f"{{{inside}}}"
        case tuple() | list() if len(batch) < 8:
            return f"({', '.join(map(_told, batch))})"
        case _:
            return type(batch).__name__


def _leaves(batch: Any) -> list[Tensor]:
    found: list[Any] = []
    mapped(batch, found.append)
    return [leaf for leaf in found if isinstance(leaf, Tensor)]
