"""One thread for every test and the processes it starts.

The networks here are tiny: two threads would only wait for each other, and on a busy machine
they would wait a hundred times longer than they work.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from torch.nn import functional as F


@pytest.fixture(scope="session")
def by_loop():
    """Powers of the gradients of every sample's loss, added up; frozen parameters left out."""

    def looped(model, rows, power):
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        sums = {name: torch.zeros_like(p) for name, p in learning.items()}
        for x, y in rows:
            loss = F.cross_entropy(model(x[None]), y[None])
            found = torch.autograd.grad(loss, [*learning.values()])
            for name, g in zip(learning, found, strict=True):
                sums[name] += g.abs() ** power
        return sums

    return looped
