"""Chance, lent: seeded for a while, and given back as it was."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from expunge.storing import digest_text


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch, numpy and Python for a while; give all three back as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - users' code draws from it
    with torch.random.fork_rng(devices=[*devices]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - users' code draws from it
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002 - users' code draws from it


def stream(*names: str | int) -> int:
    """A seed of one's own: no two lists of names, and no small number, draw the same."""
    return int(digest_text(*map(str, names))[:15], 16)
