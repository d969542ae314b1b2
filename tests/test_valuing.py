"""Gradients of single samples, against a loop that takes them one after another."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classification, valuing
from expunge.batching import Batches
from expunge.errors import ModelDoesNotFit
from expunge.splitting import Part
from expunge.testing import toy
from expunge.valuing import worth


def by_loop(model, rows, power):
    """Powers of the gradients of every sample's loss, added up; frozen parameters left out."""
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p) for name, p in learning.items()}
    for x, y in rows:
        loss = F.cross_entropy(model(x[None]), y[None])
        found = torch.autograd.grad(loss, [*learning.values()])
        for name, g in zip(learning, found, strict=True):
            sums[name] += g.abs() ** power
    return sums


@pytest.mark.parametrize("power", [1, 2])
def test_sums_are_those_of_one_sample_after_another(power):
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


def test_a_convolutional_network_that_works_in_place_is_valued():
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


class Twice(nn.Module):
    """One layer that is heard twice, and a weight that is used behind its layer's back."""

    def __init__(self, *, hidden=False):
        super().__init__()
        self.one, self.hidden = nn.Linear(4, 4), hidden

    def forward(self, x):
        if self.hidden:
            return self.one(x) + F.linear(x, self.one.weight)
        return self.one(self.one(x))


class Rows(nn.Module):
    """A linear layer that reads every sample as several rows."""

    def __init__(self):
        super().__init__()
        self.read, self.say = nn.Linear(3, 5), nn.Linear(5, 4)

    def forward(self, x):
        return self.say(self.read(x.unflatten(1, (4, 3))).relu().mean(1))


def plain():
    return nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 4, bias=False)
    )


SHAPES = {plain: (6,), Rows: (12,)}


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("make", SHAPES)
def test_products_are_what_a_loop_finds(make, power, monkeypatch):
    monkeypatch.setattr(valuing, "_by_mapping", lambda *_: pytest.fail("not by products"))
    monkeypatch.setattr("expunge.singling._NUMBERS", 60)  # a few samples at a time
    torch.manual_seed(0)
    model = make().double()
    data = TensorDataset(torch.randn(11, *SHAPES[make]).double(), torch.arange(11) % 4)
    with torch.no_grad():  # statistics that are not those of a fresh layer
        model.train()(data.tensors[0])
    model.eval()
    found = worth(model, Batches(Part.whole(data)), Classification().loss, power=power)
    for name, value in by_loop(model, data, power).items():
        torch.testing.assert_close(found.sums[name], value)


@pytest.mark.parametrize("hidden", [False, True])
def test_where_a_weight_is_used_twice_products_are_not_believed(hidden):
    torch.manual_seed(0)
    model = Twice(hidden=hidden)
    data = TensorDataset(torch.randn(9, 4), torch.arange(9) % 4)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    for name, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[name].float(), value)


def test_a_layer_that_is_not_asked_is_worth_nothing():
    model = nn.Sequential(nn.Linear(4, 3))
    model.spare = nn.Linear(4, 3)
    model.forward = model[0].forward
    data = TensorDataset(torch.randn(9, 4), torch.arange(9) % 3)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    assert not found.sums["spare.weight"].any()


def test_what_is_frozen_is_not_valued():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    model[0].requires_grad_(requires_grad=False)
    data = TensorDataset(torch.randn(9, 4), torch.arange(9) % 3)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    assert found.sums.keys() == {"2.weight", "2.bias"}
    for name, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[name].float(), value)
