"""The same inputs twice: which samples of one set stand in another, by digests of inputs."""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from expunge.batching import Batches, is_resident
from expunge.observing import BATCH
from expunge.splitting import Part, rooted
from expunge.tasks import Task
from expunge.tasks.reading import mapped


def leaves(nest: Any) -> list[Tensor]:
    """Every tensor in a nest."""
    found: list[Tensor] = []
    mapped(nest, lambda leaf: found.append(leaf) if isinstance(leaf, Tensor) else None)
    return found


def prints(part: Part, task: Task) -> Iterator[tuple[int, bytes]]:
    """Every sample's position, and a digest of its inputs; none where they have no row a sample."""
    # Samples that are not rows of tensors are read one by one: padding would depend on the batch.
    batches = Batches(part, BATCH if is_resident(part.source) else 1)
    for positions, batch in batches.indexed():
        rows = _rows(leaves(task.inputs(batch)), len(positions))
        yield from zip(positions.tolist(), rows, strict=False)


def among(part: Part, others: Part, task: Task) -> Bool[Tensor, " n"] | None:
    """Which samples of a part are among others; None where data are too slow to look through."""
    (mine, ids), (theirs, known) = (rooted(p.source, p.indices) for p in (part, others))
    if mine is theirs or _digest(mine) == _digest(theirs) != "":
        return torch.isin(ids, known)
    if not (is_resident(mine) and is_resident(theirs)):
        return None
    there = {digest for _, digest in prints(others, task)}
    here = dict(prints(part, task))
    if not here or not there:  # inputs without a row a sample tell nobody from anybody
        return None
    return torch.tensor([here.get(position) in there for position in part.indices.tolist()])


def _digest(data: Any) -> str:
    """What a dataset says of its own content; nothing where it does not say."""
    own = getattr(data, "digest", None)
    return own if isinstance(own, str) else ""


def _rows(tensors: list[Tensor], count: int) -> list[bytes]:
    """One digest a sample; a tensor that has no row for each of them tells none apart."""
    counts = Counter(len(x) for x in tensors if x.ndim)
    tables: list[Any] = [
        x.contiguous().reshape(count, -1).view(torch.uint8).numpy()
        for x in tensors
        if x.ndim and len(x) == count
    ]
    if not counts[count]:
        return []
    return [sha256(b"".join(table[i].tobytes() for table in tables)).digest() for i in range(count)]
