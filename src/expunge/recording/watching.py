"""Watch which samples a loader reads, without changing the loader or its chance."""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from expunge.batching import Batches
from expunge.errors import HistoryDoesNotFit


class Watched:
    """Batches as the loader gives them; before each, somebody hears which samples it holds."""

    def __init__(
        self, batches: Any, hear: Callable[[Int[Tensor, " _"], Tensor | None], None]
    ) -> None:
        _check(batches)
        self._batches, self._hear = batches, hear
        self._spied = None if isinstance(batches, Batches) else _Spied.on(batches)

    @property
    def data(self) -> Any:
        """The dataset in which samples have their positions."""
        own = self._batches
        return own.part.source if isinstance(own, Batches) else own.dataset

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        if self._spied is not None:
            for ids, batch in self._spied:
                self._hear(ids, None)
                yield batch
            return
        for ids, batch in self._batches.indexed():
            self._hear(ids, torch.get_rng_state())
            yield batch


@dataclass(frozen=True, slots=True, eq=False)
class _Spied:
    """A copy of a loader that tells what its batch sampler draws.

    Workers may read ahead: batches still come in the order in which they were drawn, and drawing
    is done in the main process.
    """

    loader: DataLoader[Any]
    drawn: deque[Any] = field(default_factory=deque)

    @classmethod
    def on(cls, loader: DataLoader[Any]) -> "_Spied":
        spied = cls(copy.copy(loader))
        # Past DataLoader.__setattr__, which lets nobody change the sampler of a loader.
        vars(spied.loader)["batch_sampler"] = _Told(loader.batch_sampler, spied.drawn)
        vars(spied.loader)["_iterator"] = None  # workers that persist belong to the original
        return spied

    def __iter__(self) -> Iterator[tuple[Int[Tensor, " _"], Any]]:
        self.drawn.clear()
        data: Any = self.loader.dataset
        for batch in self.loader:
            yield _positions(self.drawn.popleft(), len(data)), batch


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    sampler: Any
    drawn: deque[Any]

    def __iter__(self) -> Iterator[Any]:
        for ids in self.sampler:
            self.drawn.append(copy.copy(ids))  # a sampler may fill the same list again
            yield ids

    def __len__(self) -> int:
        return len(self.sampler)


def _positions(drawn: Any, size: int) -> Int[Tensor, " _"]:
    try:
        found = torch.as_tensor(drawn, dtype=torch.long)
    except (RuntimeError, TypeError, ValueError):
        found = torch.empty(0, 0, dtype=torch.long)
    if found.ndim == 1 and bool(((found >= 0) & (found < size)).all()):
        return found
    raise HistoryDoesNotFit(
        f"the sampler of the loader draws {drawn!r:.60}, not positions among {size} samples",
        hint="let samples be known by whole numbers from 0.",
    )


def _check(batches: Any) -> None:
    if isinstance(batches, Batches):
        return
    if not isinstance(batches, DataLoader):
        raise HistoryDoesNotFit(
            f"a {type(batches).__name__} does not tell which samples are in a batch",
            hint="watch the DataLoader itself: `for batch in tape.watch(loader)`.",
        )
    if isinstance(batches.dataset, IterableDataset):
        raise HistoryDoesNotFit(
            f"{type(batches.dataset).__name__} is iterable: its samples have no positions",
            hint="use a dataset with __getitem__ and __len__, so that a sample can be named.",
        )
    if batches.batch_sampler is None:
        raise HistoryDoesNotFit(
            "a loader with batch_size=None does not tell where a batch begins",
            hint="give the loader a batch_size or a batch_sampler.",
        )
    if batches.num_workers and not getattr(batches, "in_order", True):
        raise HistoryDoesNotFit(
            "a loader with in_order=False gives batches in another order than it draws them",
            hint="leave in_order=True while a tape watches.",
        )
    if not hasattr(batches.dataset, "__len__"):
        raise HistoryDoesNotFit(
            f"{type(batches.dataset).__name__} does not tell how many samples it has",
            hint="give the dataset a __len__.",
        )
