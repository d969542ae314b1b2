"""The last layers only: everything before them stays bit for bit, statistics too."""

import pytest
import torch
from torch import nn

from expunge import Classification, Samples
from expunge.errors import BadSetting, ModelDoesNotFit
from expunge.methods.catastrophic_layers import CatastrophicLayers
from expunge.testing import toy
from expunge.unlearning import seeded, unlearn


class Crooked(nn.Module):
    """Registers its layers in another order than it calls them."""

    def __init__(self):
        super().__init__()
        self.head, self.norm = nn.Linear(11, 3), nn.BatchNorm1d(11)
        self.after, self.middle = nn.BatchNorm1d(11), nn.Linear(9, 11)
        self.first = nn.Linear(8, 9)
        self.early = nn.BatchNorm1d(9)

    def forward(self, x):
        x = self.early(self.first(x)).relu()
        return self.head(self.norm(self.middle(x)).relu())


class Attending(nn.Module):
    """An encoder with places of its own; attention whose last layer is never called."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.plain, self.drop = nn.BatchNorm1d(8, affine=False), nn.Dropout(0.2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.encoder(x)
        x = self.attention(x, x, x)[0].mean(1)
        return self.head(self.drop(self.plain(x)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.randn(4, 8))
        self.inner, self.outer = nn.Linear(2, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.outer(self.inner(x.view(-1, 4, 2)).relu() + self.place)


def run(count, model=None, **settings):
    problem = toy(Samples((1, 2, 3, 5, 8)))
    with seeded(0):
        model = model or Crooked()
    how = CatastrophicLayers(layers=count, epochs=2, **settings)
    after = unlearn(model, problem.split, how, task=Classification()).after
    return model.state_dict(), after.state_dict()


def moved(before, after):
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("start", ["trained", "fresh"])
def test_frozen_layers_and_their_statistics_keep_all_their_bits(start):
    assert moved(*run(1, start=start)) == {"head"}
    assert moved(*run(2, start=start)) == {"head", "middle", "norm"}
    assert moved(*run(None, start=start)) == {"head", "middle", "norm"}
    assert moved(*run(3, start=start)) == {"head", "middle", "norm", "first", "early"}


@pytest.mark.parametrize("start", ["trained", "fresh"])
def test_what_is_never_called_belongs_to_what_holds_it_and_containers_do_not_come_last(start):
    with seeded(0):
        model = Attending()
    before, after = run(2, model, start=start)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.split(".")[0] not in ("encoder", "drop")}
    assert {"attention.out_proj.weight", "plain.running_mean"} <= changed
    before, after = run(3, model, start=start)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name for name in changed if name.startswith("encoder")} == {
        "encoder.outer.weight", "encoder.outer.bias"
    }  # fmt: skip


def test_fresh_layers_owe_nothing_to_what_they_were():
    with seeded(0):
        one, other = Crooked(), Crooked()
        other.load_state_dict(one.state_dict())
        nn.init.normal_(other.head.weight)
    _, ours = run(1, one, start="fresh")
    _, theirs = run(1, other, start="fresh")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_more_layers_than_there_are_and_frozen_ones_are_refused():
    with pytest.raises(BadSetting, match="the model has 3"):
        run(4)
    with pytest.raises(BadSetting, match="layers is 0"):
        run(0)
    frozen = Crooked()
    frozen.head.weight.requires_grad_(requires_grad=False)
    with pytest.raises(ModelDoesNotFit, match="cannot be trained afresh"):
        run(2, frozen, start="fresh")
