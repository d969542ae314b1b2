"""UNSIR: noise that is as unlike a class as can be, and never a look at what must go."""

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from expunge import Classes, Classification, Request, split
from expunge.errors import MissingInput
from expunge.methods.unsir import Unsir
from expunge.unlearning import unlearn


def test_a_digit_is_forgotten_and_the_others_are_kept(threes):
    _, after = threes.unlearned(Unsir())
    assert after.test_removed.accuracy <= 0.1
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.03


def test_noise_is_less_like_the_class_than_any_sample_and_has_the_inputs_shape(blobs):
    case = blobs.case(blobs.split(Classes((1,))))
    x, y = Unsir(noise=11, moves=60)._learnt(blobs.model, case, 1)
    assert x.shape == (11, 2)
    assert len(y) == 11
    with torch.no_grad():
        noise, data = (blobs.model(v).log_softmax(1)[:, 1] for v in (x, blobs.train.tensors[0]))
    assert noise.mean() < data.min()


class Guarded(Dataset):
    """A dataset whose forgotten samples are deleted already."""

    def __init__(self, blobs):
        self.x, self.y = blobs.train.tensors
        self.targets = self.y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        if self.y[index] == 1:
            raise LookupError(f"sample {index} was looked at")
        return self.x[index], self.y[index]


def test_no_forgotten_sample_is_ever_looked_at(blobs):
    parts = split(Guarded(blobs), Request(Classes((1,))), test=blobs.test)
    how = Unsir(noise=5, moves=3, impair=0.5, repair=0)
    outcome = unlearn(blobs.model, parts, how, task=Classification())
    assert len(outcome.traces["loss"]) > 0


def test_inputs_that_no_noise_fits_are_refused_with_advice(blobs):
    _, y = blobs.train.tensors
    data = TensorDataset(torch.ones(len(y), 2, dtype=torch.long), y)
    parts = split(data, Request(Classes((1,))), test=data)
    with pytest.raises(MissingInput, match="one floating-point tensor") as why:
        unlearn(blobs.model, parts, Unsir(), task=Classification())
    assert "inputs=" in why.value.hint
