"""Products of what layers hear and are told, against a loop over single samples."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classification, valuing
from expunge.batching import Batches
from expunge.splitting import Part
from expunge.valuing import worth


class Twice(nn.Module):
    """One layer that is heard twice, and a weight that is used behind its layer's back."""

    def __init__(self, *, hidden=False):
        super().__init__()
        self.one, self.hidden = nn.Linear(4, 4), hidden

    def forward(self, x):
        if self.hidden:
            return self.one(x) + F.linear(x, self.one.weight)
        return self.one(self.one(x))


def plain():
    return nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 4, bias=False)
    )


@pytest.mark.parametrize("power", [1, 2])
def test_products_are_what_a_loop_finds(power, monkeypatch, by_loop):
    monkeypatch.setattr(valuing, "_by_mapping", lambda *_: pytest.fail("not by products"))
    monkeypatch.setattr(valuing, "_MOST", 4)  # a few samples at a time
    torch.manual_seed(0)
    model = plain().double()
    data = TensorDataset(torch.randn(11, 6).double(), torch.arange(11) % 4)
    with torch.no_grad():  # statistics that are not those of a fresh layer
        model.train()(data.tensors[0])
    model.eval()
    found = worth(model, Batches(Part.whole(data)), Classification().loss, power=power)
    for name, value in by_loop(model, data, power).items():
        torch.testing.assert_close(found.sums[name], value)


@pytest.mark.parametrize("hidden", [False, True])
def test_where_a_weight_is_used_twice_products_are_not_believed(hidden, by_loop):
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


def test_what_is_frozen_is_not_valued(by_loop):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3))
    model[0].requires_grad_(requires_grad=False)
    data = TensorDataset(torch.randn(9, 4), torch.arange(9) % 3)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    assert found.sums.keys() == {"2.weight", "2.bias"}
    for name, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[name].float(), value)


class Tied(nn.Module):
    """A layer whose weight is an embedding's."""

    def __init__(self):
        super().__init__()
        self.words, self.say = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.say.weight = self.words.weight

    def forward(self, x):
        return self.say(self.words(x.long().abs() % 5).mean(1))


class Named(nn.Module):
    """A layer that is called by keyword."""

    def __init__(self):
        super().__init__()
        self.say = nn.Linear(3, 5)

    def forward(self, x):
        return self.say(input=x)


class Places(nn.Module):
    """A layer that reads several rows of every sample."""

    def __init__(self):
        super().__init__()
        self.say = nn.Linear(3, 5)

    def forward(self, x):
        return self.say(x).mean(1)


ODD = {
    "tied": (Tied, (4,)),
    "called by keyword": (Named, (3,)),
    "several rows": (Places, (7, 3)),
    "reparametrised": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 5)), (3,)),
    "reparametrised of old": (lambda: nn.utils.weight_norm(nn.Linear(3, 5)), (3,)),
    "normalised places": (
        lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Flatten(), nn.Linear(6, 5)), (2, 3)
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_product_is_found_in_another_way(name, by_loop):
    make, shape = ODD[name]
    torch.manual_seed(0)
    model = make().eval()
    data = TensorDataset(torch.randn(7, *shape) * 3, torch.arange(7) % 5)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    for parameter, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[parameter].float(), value)


class Gated(nn.Module):
    """A weight that is used behind its layer's back, for some samples only."""

    def __init__(self):
        super().__init__()
        self.say = nn.Linear(4, 5)

    def forward(self, x):
        return self.say(x) + x[:, :1].relu() * F.linear(x, self.say.weight)


@pytest.mark.parametrize("seed", range(6))
def test_a_weight_that_is_used_in_secret_is_noticed(seed, by_loop):
    torch.manual_seed(seed)
    model = Gated()
    data = TensorDataset(torch.randn(8, 4), torch.arange(8) % 5)
    found = worth(model, Batches(Part.whole(data)), Classification().loss)
    for name, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[name].float(), value)


SCORES = {
    "shared out": lambda model, batch: Classification().loss(model, batch) / len(batch[0]),
    "of no dimension": lambda model, batch: Classification().loss(model, batch).sum(),
    "of one column": lambda model, batch: Classification().loss(model, batch)[:, None],
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_each_sample_by_itself(name, by_loop):
    torch.manual_seed(0)
    model = nn.Linear(4, 5)
    data = TensorDataset(torch.randn(8, 4), torch.arange(8) % 5)
    found = worth(model, Batches(Part.whole(data)), SCORES[name])
    for parameter, value in by_loop(model, data, 2).items():
        torch.testing.assert_close(found.sums[parameter].float(), value)


def test_nobody_is_asked_and_nothing_learns():
    model = nn.Linear(4, 5)
    none = Batches(Part(TensorDataset(torch.randn(8, 4), torch.zeros(8).long()), torch.arange(0)))
    assert not worth(model, none, Classification().loss).sums["weight"].any()
    model.requires_grad_(requires_grad=False)
    data = TensorDataset(torch.randn(8, 4), torch.arange(8) % 5)
    assert worth(model, Batches(Part.whole(data)), Classification().loss).sums == {}
