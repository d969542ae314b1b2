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
