"""Models that would evade an erasure, and features from which none can be taken out."""

import pytest
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge.errors import Diverged, ModelDoesNotFit
from expunge.methods.leace import Leace

D, H, C = 6, 12, 2  # inputs, features and classes of the toy


class Functional(nn.Module):
    """Has a head, and does not call it."""

    def __init__(self, *, also):
        super().__init__()
        self.body, self.head, self.also = nn.Linear(D, H), nn.Linear(H, C), also

    def forward(self, x):
        h = self.body(x).tanh()
        if self.also:
            return self.head(h) + F.linear(h, self.head.weight)
        return F.linear(h, self.head.weight)


class Reusing(nn.Module):
    """Calls one head on two views."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, H), nn.Linear(H, C)

    def forward(self, x):
        return self.head(self.body(x[:, :3]).tanh()) + self.head(self.body(x[:, 3:]).tanh())


class Gated(nn.Module):
    """Two layers read the features."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.gate = nn.Linear(D, H), nn.Linear(H, C), nn.Linear(H, 1)

    def forward(self, x):
        h = self.body(x).tanh()
        return self.head(h) * self.gate(h).sigmoid()


class Pairing(nn.Module):
    """Returns more than a tensor."""

    def forward(self, x):
        return x.tanh(), x


class Taking(nn.Module):
    """Takes the first of what a layer returns."""

    def __init__(self):
        super().__init__()
        self.body, self.pair, self.head = nn.Linear(D, H), Pairing(), nn.Linear(H, C)

    def forward(self, x):
        return self.head(self.pair(self.body(x))[0])


def overwriting():
    return nn.Sequential(nn.Linear(D, H), nn.ReLU(inplace=True), nn.Linear(H, C))


REFUSED = {
    "functional beside a call": (lambda: Functional(also=True), "auto", "more of its layer"),
    "reused": (Reusing, "auto", "'head' runs 2 times"),
    "reused below": (Reusing, "body", "'body' runs 2 times"),
    "two readers": (Gated, "auto", "read by 'head' and 'gate'"),
    "a tuple": (Taking, "pair", "'pair' returns a tuple"),
    "overwritten": (overwriting, "0", "not those that were erased"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_would_evade_the_erasure_is_refused_with_a_hint(toy, name):
    build, layer, fact = REFUSED[name]
    with pytest.raises(ModelDoesNotFit, match=fact) as why:
        toy.erased(toy.built(build), toy.reading(layer=layer))
    assert why.value.hint


def test_a_layer_that_several_readers_share_can_be_named_instead(toy):
    class Naming(Gated):
        def __init__(self):
            super().__init__()
            self.squash = nn.Tanh()

        def forward(self, x):
            h = self.squash(self.body(x))
            return self.head(h) * self.gate(h).sigmoid()

    task = toy.reading(layer="squash")
    outcome = toy.erased(toy.built(Naming), task)
    assert toy.told_inside(toy.features(outcome.after, task), *toy.drawn()[1:]) < 1e-6
    assert outcome.notes[-1].startswith("the head stays")


def test_features_that_are_not_finite_are_refused(toy):
    x, y, z = toy.drawn()
    x[len(x) // 2] = 1e30
    with pytest.raises(Diverged, match=f"first at position {len(x) // 2}") as told:
        toy.erased(
            toy.built(toy.network), data=TensorDataset(x * 1e9, y, z), task=toy.reading(layer="0")
        )
    assert "features are to be erased" in str(told.value.__cause__)


def test_features_that_are_too_many_are_refused_before_they_are_summed_up(toy):
    def wide():
        return nn.Sequential(nn.Linear(D, 8200), nn.Linear(8200, C))

    with pytest.raises(ModelDoesNotFit, match="8,200 numbers a sample"):
        toy.erased(toy.built(wide))


@pytest.mark.parametrize("rare", [0, 5])
def test_who_is_left_nothing_because_features_are_rare_is_told_so(toy, rare):
    x, y, z = toy.drawn()
    x[:, 1:] = 0
    for unit in range(1, D):
        x[unit, unit] = 1
    x[:, 0] += 3 * z
    task, model = toy.reading(), nn.Sequential(nn.Identity(), nn.Linear(D, C))
    how = Leace(condition_on="nothing", rare=rare)
    if not rare:
        assert toy.erased(model, task, TensorDataset(x, y, z), how).notes
        return
    with pytest.raises(ModelDoesNotFit, match="5 features vary in too few samples") as why:
        toy.erased(model, task, TensorDataset(x, y, z), how)
    assert "a smaller rare" in why.value.hint


def test_who_is_left_nothing_for_other_reasons_hears_nothing_of_rare_features(toy):
    model = toy.built(lambda: nn.Sequential(nn.Linear(D, 4), nn.Linear(4, C)))
    with pytest.raises(ModelDoesNotFit, match="that takes 4 directions") as why:
        toy.erased(model)
    assert "rare" not in str(why.value) + why.value.hint
