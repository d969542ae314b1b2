"""Which labels are alike, and make a class inside which an attribute can be removed.

A class is a label; where labels are several yes-or-no answers, it is one of the commonest rows of
them; where they are numbers, it is a bin, all about equally full.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from expunge.tasks import Kind

_MOST = 31  # rows of answers that are classes of their own; all others are one more
_BINS = 8  # of a label that is a number; halves, where it is several


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """The classes of labels; the last is for labels that have none of their own."""

    rows: Int[Tensor, "m k"]
    edges: Float[Tensor, "k b"]  # of bins; without any, labels are whole numbers

    @classmethod
    def of(cls, labels: Shaped[Tensor, "n *k"], kind: Kind) -> "Alike":
        """The classes of some labels."""
        plain = labels.reshape(len(labels), -1)
        edges = torch.zeros(plain.shape[1], 0)
        if kind == "classification":
            return cls(torch.arange(int(plain.max()) + 1)[:, None], edges)
        if kind == "regression":
            bins = _BINS if plain.shape[1] == 1 else 2
            at = torch.arange(1, bins).double() / bins
            edges = plain.double().quantile(at, dim=0).mT.float().contiguous()
        rows, often = _digits(plain, edges).unique(dim=0, return_counts=True)
        return cls(rows[often.argsort(descending=True, stable=True)[:_MOST]], edges)

    @classmethod
    def all(cls) -> "Alike":
        """All labels in one class, whatever they are."""
        return cls(torch.zeros(0, 1, dtype=torch.long), torch.zeros(1, 0))

    def __len__(self) -> int:
        return len(self.rows) + 1

    def __call__(self, labels: Shaped[Tensor, "n *k"]) -> Int[Tensor, " n"]:
        """The class of every label."""
        if not len(self.rows):
            return torch.zeros(len(labels), dtype=torch.long, device=labels.device)
        digits = _digits(labels.reshape(len(labels), -1), self.edges.to(labels.device))
        same = (digits[:, None] == self.rows.to(labels.device)).all(2)
        return torch.where(same.any(1), same.int().argmax(1), len(self.rows))


def _digits(labels: Shaped[Tensor, "n k"], edges: Float[Tensor, "k b"]) -> Int[Tensor, "n k"]:
    if not edges.shape[1]:
        return labels.round().long() if labels.is_floating_point() else labels.long()
    return torch.searchsorted(edges, labels.mT.float().contiguous(), right=True).mT
