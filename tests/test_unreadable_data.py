"""Data that a model cannot take are told alike by every method, with advice."""

import re

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Regression, Request, Samples, split
from expunge.errors import BatchUnreadable, Diverged
from expunge.methods.duck import Duck
from expunge.methods.finetune import Finetune
from expunge.methods.neggrad import NegGrad
from expunge.methods.random_labels import RandomLabels
from expunge.methods.ssd import Ssd
from expunge.unlearning import seeded, unlearn

TASK = Classification()
TEST = TensorDataset(torch.randn(11, 4), torch.arange(11) % 3)


def network():
    with seeded(1):
        return nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))


def wide():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 4, generator=generator), torch.arange(30) % 3


@pytest.mark.parametrize("method", [NegGrad(), Duck(), Ssd(), RandomLabels()])
@pytest.mark.parametrize("label", [-100, -2])  # torch's loss ignores one, its indexing takes one
def test_no_label_is_passed_over_in_silence(method, label):
    gone, (x, y) = (2, 3, 5), wide()
    y[[*gone]] = label
    chosen = split(TensorDataset(x, y), Request(Samples(gone)), test=TEST)
    with pytest.raises(BatchUnreadable, match=f"the first is {label}"):
        unlearn(network(), chosen, method, task=TASK)


@pytest.mark.parametrize("method", [Finetune(epochs=1), Duck(), Ssd(), RandomLabels()])
@pytest.mark.parametrize(
    ("spoil", "fault", "hint"),
    [
        (lambda x, y: (x.double(), y), r"float64 \(3, 4\), int64 \(3,\)", "of torch.float32"),
        (lambda x, y: (x.byte(), y), r"uint8 \(3, 4\)", r"x.float\(\) / 255"),
        (lambda x, y: (x[:, :3], y), "shapes cannot be multiplied", "inputs=..."),
        (lambda x, y: (x, y + 1), "outside the model's 3 classes", "from 0"),
        (lambda x, y: (x.index_fill(0, torch.tensor([7]), torch.nan), y), "position 7", "finite"),
    ],
)
def test_data_that_the_model_cannot_take_are_told_by_every_method_alike(method, spoil, fault, hint):
    spoilt = TensorDataset(*spoil(*wide()))
    chosen = split(spoilt, Request(Samples((2, 3, 5))), test=TEST)
    with pytest.raises((BatchUnreadable, Diverged), match=fault) as told:
        unlearn(network(), chosen, method, task=TASK)
    assert re.search(hint, told.value.hint)


def test_the_type_of_labels_is_not_taken_for_that_of_inputs():
    x, y = wide()
    spoilt = split(TensorDataset(x.double(), y.float()), Request(Samples((2,))), test=TEST)
    with pytest.raises(BatchUnreadable) as told:
        unlearn(network(), spoilt, Finetune(epochs=1), task=Regression())
    assert "inputs of torch.float32" in told.value.hint
