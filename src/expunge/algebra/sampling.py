"""Which rows to look at where all are too many: a draw that depends on nothing but their ids."""

import torch
from jaxtyping import Int
from torch import Tensor


def drawn(ids: Int[Tensor, " n"], most: int) -> Int[Tensor, " m"]:
    """Positions of at most so many rows, shuffled: the same rows whatever order they stand in."""
    mixed = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    return ids.argsort()[mixed[:most]]
