"""A model with a will of its own: functional steps, BatchNorm, and a weight that is used twice."""

import torch
from data import CLASSES, LENGTH
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 32


class WaveNet(nn.Module):
    """Say which wave it is; `mix` and `unmix` are one matrix under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(LENGTH, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.unmix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.unmix.weight = self.mix.weight
        self.head = nn.Parameter(torch.randn(CLASSES, WIDTH) / WIDTH**0.5)

    def forward(self, wave: Tensor, gain: Tensor) -> Tensor:
        """One logit a class."""
        hidden = F.relu(self.norm(self.encode(wave / gain)))
        hidden = hidden + F.relu(self.unmix(F.relu(self.mix(hidden))))
        return F.linear(hidden, self.head)


def build() -> nn.Module:
    """A fresh model."""
    return WaveNet()
