"""Which samples a gradient is of: of one batch, or of several whose gradients add up."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.errors import HistoryDoesNotFit


class Passes:
    """Hears which batches are read and when a backward pass begins, and tells them apart.

    A pass is of the batch that was read last: one that was read and passed over is of no gradient.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._waiting: list[Tensor] = []  # read since the last backward pass
        self._read: list[Tensor] = []  # read since the last step
        self._ids: list[Tensor] = []  # what the gradients are of
        self._first, self._due = True, False

    def hear(self, ids: Int[Tensor, " _"]) -> None:
        """A batch of these samples was read."""
        self._waiting.append(ids)
        self._read.append(ids)

    def backward(self, _gradient: Tensor) -> None:
        """A gradient is about to be added to those that are there."""
        if not self._waiting:
            return
        if self._first and len(self._waiting) > 1:
            raise HistoryDoesNotFit(
                f"{len(self._waiting)} batches were read before the first backward pass, so "
                f"nobody knows which of them a gradient is of",
                hint="read one batch a backward pass, and let nothing read ahead of tape.watch.",
            )
        if all(_nothing(parameter.grad) for parameter in self._parameters):
            self._ids = []
        self._ids.append(self._waiting[-1])
        self._waiting, self._first, self._due = [], False, True

    def take(self) -> tuple[tuple[Int[Tensor, " _"], ...], Int[Tensor, " _"]]:
        """The samples of the gradient that a step uses, and those that were read beside them."""
        if not self._due:
            raise HistoryDoesNotFit(
                "the optimizer stepped on no batch that the tape has watched",
                hint="read every batch by `for batch in tape.watch(loader)`.",
            )
        read = torch.cat(self._read)
        self._read, self._due = [], False
        return tuple(self._ids), read[~torch.isin(read, torch.cat(self._ids))]


def _nothing(gradient: Tensor | None) -> bool:
    return gradient is None or not bool(gradient.any())
