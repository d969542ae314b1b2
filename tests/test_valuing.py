"""Gradients of single samples, against a loop that takes them one after another."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification
from expunge.batching import Batches
from expunge.errors import ModelDoesNotFit
from expunge.splitting import Part
from expunge.testing import toy
from expunge.valuing import worth


@pytest.mark.parametrize("power", [1, 2])
def test_sums_are_those_of_one_sample_after_another(power, by_loop):
    problem = toy(normalised=True)
    model = problem.model.double().eval()
    x, y = problem.split.retain.source[:37]
    data = TensorDataset(x.double(), y)
    found = worth(model, Batches(Part.whole(data)), Classification().loss, power=power)
    looped = by_loop(model, data, power)
    assert found.count == 37
    assert found.sums.keys() == looped.keys()
    for name, value in looped.items():
        torch.testing.assert_close(found.sums[name], value)


def test_chunks_change_nothing(monkeypatch):
    problem = toy()
    batches = Batches(problem.split.retain)
    once = worth(problem.model, batches, problem.task.loss)
    monkeypatch.setattr("expunge.valuing._MOST", 7)
    parted = worth(problem.model, batches, problem.task.loss)
    for name, value in once.means.items():
        torch.testing.assert_close(parted.means[name], value)


def test_a_convolutional_network_that_works_in_place_is_valued(by_loop):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(12, 5)
    ).eval()
    data = TensorDataset(torch.randn(7, 1, 4, 4), torch.arange(7) % 5)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    for name, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[name].float(), value)


def test_a_model_that_looks_at_its_numbers_is_refused_with_advice():
    class Branching(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum().item() > 0 else -super().forward(x)

    data = TensorDataset(torch.randn(7, 4), torch.arange(7) % 3)
    with pytest.raises(ModelDoesNotFit, match="single samples"):
        worth(Branching(4, 3), Batches(Part.whole(data)), Classification().loss)


def test_some_samples_stand_for_all():
    problem = toy()
    batches = Batches(problem.split.retain)
    whole = worth(problem.model, batches, problem.task.loss)
    torch.manual_seed(0)
    some = worth(problem.model, batches, problem.task.loss, most=90)
    torch.manual_seed(0)
    order = torch.randperm(len(batches.part))[:90].sort().values
    part = Part(batches.part.source, batches.part.indices[order])
    own = worth(problem.model, Batches(part), problem.task.loss)
    assert some.count == whole.count == 115
    for name, value in own.means.items():
        torch.testing.assert_close(some.means[name], value)
