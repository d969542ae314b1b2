"""Can the data be read, do they stay the same, and do model and task understand them?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.cli.examining.findings import Findings
from expunge.cli.steps import labels_of
from expunge.observing import device_of, evaluating
from expunge.splitting import Data, Part
from expunge.tasks import Batch, Task
from expunge.twins import leaves

_PROBES = 64  # samples: enough to see what all of them are like


@dataclass(frozen=True, slots=True)
class Look:
    """One dataset, how to read it, and the model that must answer it."""

    name: str
    data: Data
    task: Task
    model: nn.Module | None  # None: it could not be made
    found: Findings


def look_at_data(look: Look) -> None:
    """Read a few samples twice, and ask the model about them."""
    name, found = look.name, look.found
    batch = found.attempt(name, lambda: _probe(look))
    inputs = None if batch is None else found.attempt(name, lambda: look.task.inputs(batch))
    if batch is None or inputs is None:
        return
    if not all(is_finite(leaf) for leaf in leaves(inputs)):
        found.add(name, "some inputs are not finite", "clean the data, or fill what is missing.")
    again = found.attempt(name, lambda: look.task.inputs(_probe(look)))
    if again is not None and not _same(inputs, again):
        found.add(
            name,
            "samples differ when they are read again, as random transforms make them",
            "name a dataset without augmentation, and augment inside `fit`.",
        )
    if look.model is not None:
        _look_at_answers(look, look.model, batch)


def is_finite(value: Tensor) -> bool:
    """Whether a tensor holds numbers only; whole numbers are always finite."""
    return not value.is_floating_point() or bool(value.isfinite().all())


def _probe(look: Look) -> Batch:
    ids = torch.linspace(0, len(look.data) - 1, min(_PROBES, len(look.data))).long()
    device = torch.device("cpu") if look.model is None else device_of(look.model)
    return Batches(Part.whole(look.data), device=device).take(ids)


def _same(a: Any, b: Any) -> bool:
    """Whether two nests hold the same numbers, where no number is the same as no number."""
    pairs = [*zip(leaves(a), leaves(b), strict=False)]
    if any(x.shape != y.shape for x, y in pairs):
        return False
    return all(bool(((x == y) | ((x != x) & (y != y))).all()) for x, y in pairs)  # noqa: PLR0124 - nan


def _look_at_answers(look: Look, model: nn.Module, batch: Batch) -> None:
    """One forward pass: can the model read the batch, is the layer there, is the loss a loss?"""
    where, found = f"model on {look.name}", look.found
    with torch.inference_mode(), evaluating(model):
        answer = found.attempt(where, lambda: look.task.answer(model, batch))
        if answer is None or any(_wrong_labels(look, answer.logits)):
            return
        if getattr(look.task, "layer", "auto") != "auto":
            found.attempt(where, lambda: answer.embedding)
        loss = found.attempt(f"loss on {look.name}", lambda: look.task.loss(model, batch))
    if not is_finite(answer.logits) or (loss is not None and not is_finite(loss)):
        found.add(
            where,
            "the model's answers or losses are not finite",
            "check the weights, and the scale of the inputs.",
        )


def _wrong_labels(look: Look, logits: Tensor) -> Iterator[bool]:
    """Whether labels lie outside the model's classes; every one of them is looked at."""
    if look.task.kind != "classification" or logits.ndim != 2:
        return
    labels = look.found.attempt(look.name, lambda: labels_of(look.data, look.task))
    if labels is None or labels.is_floating_point() or labels.ndim != 1:
        return
    classes = logits.shape[1]
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist()
    if wrong:
        look.found.add(
            look.name,
            f"{len(wrong)} labels lie outside the model's {classes} classes; "
            f"the first is {int(labels[wrong[0]])}, of sample {wrong[0]}",
            "renumber the labels from 0, or build the model with more classes.",
        )
        yield True
