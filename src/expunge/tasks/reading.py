"""Reading batches and models of any shape: tensors, tuples, mappings, and nests of them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from expunge.errors import BatchUnreadable, MissingInput, UnknownName


def first(batch: Any) -> Any:
    """The first thing in a batch: by habit, the inputs."""
    return _at(batch, 0, "inputs")


def second(batch: Any) -> Any:
    """The second thing in a batch: by habit, the labels."""
    return _at(batch, 1, "labels")


def _at(batch: Any, position: int, word: str) -> Any:
    if isinstance(batch, (tuple, list)) and len(batch) > position:
        return batch[position]
    shape = f"a mapping of {list(batch)}" if isinstance(batch, Mapping) else type(batch).__name__
    raise BatchUnreadable(
        f"a batch is {shape}, and the task does not know where its {word} are",
        hint=f"pass the task {word}=..., a function from a batch to its {word}.",
    )


def call(model: nn.Module, inputs: Any) -> Tensor:
    """The model's logits: a mapping goes in as keywords, a tuple as positions."""
    match inputs:
        case Mapping():
            output = model(**inputs)
        case tuple():
            output = model(*inputs)
        case _:
            output = model(inputs)
    return logits_of(output)


def logits_of(output: Any) -> Tensor:
    """A tensor as it is, or the ``logits`` of whatever else a model returned."""
    found = output.get("logits") if isinstance(output, Mapping) else output
    found = getattr(found, "logits", found)
    if isinstance(found, Tensor) and found.ndim > 0 and found.is_floating_point():
        return found
    raise BatchUnreadable(
        f"the model returned {type(output).__name__}, which is no tensor and has no logits",
        hint="wrap the model so that it returns its logits, or an object with `.logits`.",
    )


def mapped(batch: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest with every leaf changed."""
    match batch:
        case Mapping():
            return {key: mapped(value, change) for key, value in batch.items()}
        case tuple() if hasattr(batch, "_fields"):
            return type(batch)(*(mapped(value, change) for value in batch))
        case tuple() | list():
            return type(batch)(mapped(value, change) for value in batch)
        case _:
            return change(batch)


def moved(batch: Any, device: torch.device) -> Any:
    """The same nest on another device."""
    return mapped(batch, lambda leaf: leaf.to(device) if hasattr(leaf, "to") else leaf)


def replaced(batch: Any, old: Any, new: Any) -> Any:
    """The same nest with the leaves of ``old`` replaced by those of ``new``, wherever they are."""
    swaps = dict(_pairs(old, new))
    left = set(swaps)

    def change(leaf: Any) -> Any:
        left.discard(id(leaf))
        return swaps.get(id(leaf), leaf)

    found = mapped(batch, change)
    if left:
        raise BatchUnreadable(
            "the task computes its inputs from the batch, so other inputs cannot be put back",
            hint="let inputs=... pick tensors out of the batch, and compute in the model.",
        )
    return found


def _pairs(old: Any, new: Any) -> list[tuple[int, Any]]:
    if isinstance(old, Mapping):
        return [pair for key in old for pair in _pairs(old[key], new[key])]
    if isinstance(old, (tuple, list)):
        return [pair for a, b in zip(old, new, strict=True) for pair in _pairs(a, b)]
    return [(id(old), new)]


def joined(a: Any, b: Any) -> Any:
    """One nest that holds the samples of both: tensors end to end, lists end to end."""
    match a:
        case Tensor():
            return _stacked(a, b)
        case Mapping():
            return {key: joined(a[key], b[key]) for key in a}
        case tuple() if hasattr(a, "_fields"):
            return type(a)(*(joined(x, y) for x, y in zip(a, b, strict=True)))
        case tuple() | list() if _holds_tensors(a):
            return type(a)(joined(x, y) for x, y in zip(a, b, strict=True))
        case tuple() | list():
            return type(a)([*a, *b])
        case _:
            return a


def _holds_tensors(nest: Any) -> bool:
    """Whether a list is one of fields; one without any tensor holds a word a sample."""
    if isinstance(nest, (tuple, list)):
        return any(_holds_tensors(item) for item in nest)
    return isinstance(nest, (Tensor, Mapping))


def _stacked(a: Tensor, b: Tensor) -> Tensor:
    if a.shape[1:] != b.shape[1:]:
        raise BatchUnreadable(
            f"samples of shapes {tuple(a.shape[1:])} and {tuple(b.shape[1:])} cannot be joined",
            hint="pad every sample of the dataset to one length, or give the task its own join.",
        )
    return torch.cat([a, b])


def same_count(logits: Tensor, labels: object) -> None:
    """Refuse labels that are no tensor, and answers and labels of different numbers of samples."""
    if not isinstance(labels, Tensor):
        raise BatchUnreadable(
            f"the labels of a batch are a {type(labels).__name__}, not a tensor",
            hint="number the classes from 0, and let the dataset return the numbers.",
        )
    if len(logits) != len(labels):
        raise BatchUnreadable(
            f"the model answered {len(logits)} samples, the batch has {len(labels)} labels",
            hint="the first axis of the logits must be the samples.",
        )


def known_classes(labels: Tensor, classes: int) -> None:
    """Refuse labels that are none of the model's classes."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise BatchUnreadable(
            f"{len(wrong)} labels lie outside the model's {classes} classes; "
            f"the first is {int(wrong[0])}",
            hint="renumber the labels from 0, or build the model with more classes.",
        )


def named_attribute(
    attributes: Mapping[str, Callable[[Any], Tensor]], batch: Any, name: str
) -> Tensor:
    """Read one attribute, or say which can be read."""
    if not attributes:
        raise MissingInput(
            f"the task cannot read the attribute {name!r}: it was given no attributes",
            hint=f"pass the task attributes={{{name!r}: lambda batch: ...}}.",
        )
    if name not in attributes:
        raise UnknownName("attribute", name, attributes)
    return attributes[name](batch)
