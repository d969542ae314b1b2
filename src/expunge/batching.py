"""A part of a dataset in batches; tensor-backed data never leave memory."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, default_collate

from expunge.splitting import Part, rooted
from expunge.storing import digest_tensors, digest_text
from expunge.tasks.reading import mapped, moved

_CPU = torch.device("cpu")
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_KNOWN_TO_NUMPY = {
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float64,
}
_PROBES = 256  # samples that stand for a dataset which cannot be digested as a whole
_WORTH_WORKERS = 32  # batches: below this, starting workers costs more than they save


@runtime_checkable
class Resident(Protocol):
    """A dataset whose samples are rows of tensors, made ready a batch at a time.

    ``prepare`` must be deterministic: it normalises, say, and never augments. Where it hangs on
    settings, offer the same as ``ready``, a callable that equals another if their settings do: by
    it, rows of two such datasets can lie in one.
    """

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """One row a sample."""

    def prepare(self, *rows: Tensor) -> Any:
        """Turn stored rows into a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """A part, ready to be read in batches any number of times.

    Batches are as equal in size as can be, so that from size three on no single sample is left
    over for the last one: BatchNorm cannot take one, and dropping it would lose a sample.
    Shuffling draws from torch's global generator, which the runner seeds.
    """

    part: Part
    size: int = 128
    shuffle: bool = False
    device: torch.device = _CPU

    def __len__(self) -> int:
        return (len(self.part) + self.size - 1) // self.size

    def __iter__(self) -> Iterator[Any]:
        return (batch for _, batch in self.indexed())

    def indexed(self) -> Iterator[tuple[Int[Tensor, " n"], Any]]:
        """Batches with the positions of their samples in the training set."""
        if len(self.part) == 0:
            return
        ids = self.part.indices
        order = ids[torch.randperm(len(ids))] if self.shuffle else ids
        chunks = order.tensor_split(len(self))
        for chunk, batch in zip(chunks, _read(self.part.source, chunks), strict=True):
            yield chunk, moved(batch, self.device)

    def epochs(self, count: int) -> Iterator[Any]:
        """All batches, ``count`` times over."""
        for _ in range(count):
            yield from self

    def endless(self) -> Iterator[Any]:
        """All batches, again and again."""
        while len(self.part):
            yield from self

    def take(self, ids: Int[Tensor, " n"]) -> Any:
        """One batch of the samples at these positions in the training set."""
        return moved(next(_read(self.part.source, [ids.cpu()])), self.device)


def _read(source: Any, chunks: Sequence[Tensor]) -> Iterator[Any]:
    inside = [rooted(source, chunk) for chunk in chunks]
    source, chunks = inside[0][0], [ids for _, ids in inside]
    if is_resident(source):
        return _gathered(source, chunks)
    return _loaded(
        DataLoader(
            source,
            batch_sampler=[chunk.tolist() for chunk in chunks],
            num_workers=min(2, os.cpu_count() or 1) if len(chunks) >= _WORTH_WORKERS else 0,
            collate_fn=getattr(source, "collate_fn", default_collate),
        )
    )


def _loaded(loader: DataLoader[Any]) -> Iterator[Any]:
    """Its batches; workers go as soon as it ends, or as a sample raises.

    Whoever leaves them to the garbage collector after a fault waits ten seconds for them.
    """
    batches = iter(loader)
    try:
        yield from batches
    finally:
        dismiss = getattr(batches, "_shutdown_workers", None)  # torch has no public name for it
        if dismiss is not None:
            dismiss()


def is_resident(source: Any) -> bool:
    """Whether samples are rows of tensors; caching others could freeze random transforms."""
    return type(source) is TensorDataset or isinstance(source, Resident)


def _gathered(source: Any, chunks: Sequence[Tensor]) -> Iterator[Any]:
    # Rows are copied, never viewed: a model that works in place must not write into the data.
    prepare = getattr(source, "prepare", None)
    for chunk in chunks:
        rows = tuple(_picked(x, chunk) for x in source.tensors)
        yield prepare(*rows) if prepare else rows


def _picked(x: Tensor, rows: Tensor) -> Tensor:
    # Numpy copies on one thread. Torch would share so little work among threads, which is faster
    # for images by a hair, and slower a hundred times when another process holds a core.
    if x.device.type == "cpu" and x.dtype in _KNOWN_TO_NUMPY and not x.requires_grad:
        return torch.from_numpy(x.numpy().take(rows.numpy(), axis=0))
    return x.index_select(0, rows.to(x.device))


def data_digest(source: Any) -> str:
    """Digest of a dataset: its bytes where they are in memory, else what a few samples show.

    A dataset that reads files, or transforms at random, may answer for itself with a ``digest``
    attribute: a text that changes when its content does.
    """
    root, ids = rooted(source, torch.arange(len(source)))
    if root is not source:
        return digest_text(data_digest(root), digest_tensors({"ids": ids}))
    if is_resident(source):
        return digest_tensors({str(i): x for i, x in enumerate(source.tensors)})
    own = getattr(source, "digest", None)
    if isinstance(own, str):
        return own
    return digest_text(type(source).__qualname__, str(len(source)), *_shown(source))


def _shown(source: Any) -> list[str]:
    """What a few samples hold; where looking twice shows two things, only their form."""
    probes = torch.linspace(0, len(source) - 1, _PROBES).long().unique().tolist()
    once, again = ([repr(mapped(source[i], _content)) for i in probes] for _ in range(2))
    shown = once if once == again else [repr(mapped(source[i], _form)) for i in probes]
    return [*shown, repr([*getattr(source, "targets", ())])]


def _content(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return digest_tensors({"": leaf})
    if hasattr(leaf, "tobytes"):  # numpy's arrays and numbers, Pillow's images
        return *_form(leaf), sha256(leaf.tobytes()).hexdigest()
    return _form(leaf)


def _form(leaf: Any) -> Any:
    """What random transforms leave alone: types, shapes, and plain values."""
    if isinstance(leaf, Tensor) or hasattr(leaf, "tobytes"):
        shape = getattr(leaf, "shape", getattr(leaf, "size", ()))  # Pillow says size
        return type(leaf).__name__, str(getattr(leaf, "dtype", "")), tuple(shape)
    # The repr of other objects may hold their place in memory, which is another in every run.
    return leaf if isinstance(leaf, _PLAIN) else type(leaf).__qualname__
