"""Buffers in which samples could have stayed: no gradient moves them, and no metric names them.

A memory of neighbours, a bank of features or a replay buffer holds what it was given, row by row.
Only two signs count, so that statistics, masks and encodings of positions raise no alarm: a row for
every training sample, and rows that are inputs of the forget set.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from expunge.batching import Batches
from expunge.tasks import Task

_FEW = 8  # samples of the forget set that are looked for


def stayed(
    before: nn.Module, after: nn.Module, forget: Batches, size: int, *, task: Task
) -> Iterator[str]:
    """Say which buffers may still hold who left a training set of this size."""
    if not len(forget.part):
        return
    tables = {name: rows for name, rows in after.named_buffers() if _table(rows)}
    if not tables:
        return
    gone, known = _inputs(forget, task), dict(before.named_buffers())
    for name, rows in tables.items():
        if any(bool(_holds(rows.flatten(1), sample).any()) for sample in gone):
            yield f"the buffer {name!r} still holds inputs of the forget set as they are"
        elif len(rows) == size and name in known and _same(known[name], rows, forget):
            yield (
                f"the buffer {name!r} has a row for each of the {size:,} training samples and did "
                "not change: it may still hold those that left"
            )


def _table(rows: Tensor) -> bool:
    return rows.ndim > 1 and rows.is_floating_point() and rows.numel() > 0


def _inputs(forget: Batches, task: Task) -> list[Float[Tensor, " d"]]:
    """What goes into the model of some samples; nothing if that is not one tensor of numbers."""
    read = getattr(task, "inputs", None)  # a task of somebody else may have no such thing
    x = read(forget.take(forget.part.indices[:_FEW])) if callable(read) else None
    if not isinstance(x, Tensor) or not _table(x):
        return []
    return [row for row in x.flatten(1) if row.min() < row.max()]  # a blank one is nobody's


def _holds(rows: Shaped[Tensor, "n d"], sample: Float[Tensor, " e"]) -> Bool[Tensor, " k"]:
    """Whether rows are this sample, for those that are at its largest number."""
    if rows.shape[1] != len(sample):
        return torch.zeros(0, dtype=torch.bool)
    sample, at = sample.to(rows), int(sample.abs().argmax())
    return (rows[rows[:, at] == sample[at]] == sample).all(1)


def _same(old: Tensor, new: Tensor, forget: Batches) -> bool:
    """Whether nothing changed, and those who left do not have rows of zeros alone."""
    return torch.equal(old, new) and bool(new[forget.part.indices.to(new.device)].any())
