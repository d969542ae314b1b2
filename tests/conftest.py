"""One thread for every test and the processes it starts, and shapes checked where they are named.

The networks here are tiny: two threads would only wait for each other, and on a busy machine
they would wait a hundred times longer than they work.

The hook of jaxtyping wraps every function there is, which takes longer than most of them do. Here
it keeps to those that name a shape; the plain types of the others are mypy's to check.
"""

import os
from typing import get_args

os.environ["OMP_NUM_THREADS"] = "1"

import jaxtyping
import pytest
import torch
from torch.nn import functional as F


def shaped(annotation):
    """Whether a type is an array of some shape, or holds one; of a quoted one, whether it may."""
    match annotation:
        case str():
            return "[Tensor," in annotation
        case type() if issubclass(annotation, jaxtyping.AbstractArray):
            return True
        case _:
            inner = annotation if isinstance(annotation, list) else get_args(annotation)
            return any(map(shaped, inner))


def checked(*, typechecker, everywhere=jaxtyping.jaxtyped):
    """What the hook decorates with: its own decorator for what names a shape, and else nothing."""

    def decorate(made):
        among = made.__mro__ if isinstance(made, type) else [made]  # fields are inherited
        named = [each for one in among for each in getattr(one, "__annotations__", {}).values()]
        return everywhere(typechecker=typechecker)(made) if any(map(shaped, named)) else made

    return decorate


jaxtyping.jaxtyped = checked


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


@pytest.fixture(autouse=True)
def _one_thread():
    """No test leaves more threads to those after it."""
    yield
    assert torch.get_num_threads() == 1
