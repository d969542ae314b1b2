"""Processes that read samples go as soon as nobody waits for them."""

import multiprocessing

import pytest
import torch
from torch.utils.data import Dataset

from expunge.batching import _WORTH_WORKERS, Batches
from expunge.splitting import Part


class Broken(Dataset):
    """One sample raises."""

    def __init__(self, where):
        self.where = where

    def __len__(self):
        return _WORTH_WORKERS + 1

    def __getitem__(self, index):
        if index == self.where:
            raise KeyError(index)
        return torch.zeros(2), 0


@pytest.mark.parametrize("where", [0, _WORTH_WORKERS])
def test_workers_go_at_once_when_a_sample_raises(where):
    with pytest.raises(KeyError):
        list(Batches(Part.whole(Broken(where)), 1))
    assert multiprocessing.active_children() == []


def test_workers_go_when_nobody_wants_more():
    batches = iter(Batches(Part.whole(Broken(None)), 1))
    next(batches)
    assert multiprocessing.active_children()
    del batches
    assert multiprocessing.active_children() == []
