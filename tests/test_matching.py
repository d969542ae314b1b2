"""Which layers still say what the original's say."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.matching import kept, weighted
from expunge.representing import drawing
from expunge.reserving import reserve

N, D, H, C = 300, 5, 7, 3
TASK = Classification(attributes={"sign": lambda batch: batch[2]})


def held():
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    test = TensorDataset(x, torch.arange(N) % C, (x[:, 0] > 0).long())
    return reserve(split(test, Request(Attribute("sign")), test=test), TASK, ["sign"])


def net(seed=1):
    with drawing(seed):
        return nn.Sequential(
            nn.Identity(), nn.Linear(D, H), nn.ReLU(), nn.Linear(H, 9), nn.Tanh(), nn.Linear(9, C)
        )


def changed(layer):
    """The original, with other weights in one layer."""
    model = deepcopy(net())
    model[layer].load_state_dict(net(2)[layer].state_dict())
    return model


def test_layers_with_weights_are_those_before_the_features():
    assert weighted(net(), held(), TASK) == ["1", "3"]
    assert weighted(nn.Linear(D, C), held(), TASK) == []


@pytest.mark.parametrize(("layer", "names"), [(5, ["1", "2", "3"]), (3, ["1", "2"]), (1, [])])
def test_layers_up_to_one_that_changed_say_what_they_said(layer, names):
    found = kept(net(), changed(layer), held(), TASK)
    assert [ours for ours, _ in found.pairs] == names
    assert all(ours == theirs for ours, theirs in found.pairs)
    assert found.share == len([name for name in names if name in "13"]) / 2


def test_another_network_says_else_and_what_is_before_all_weights_does_not_count():
    found = kept(net(), net(2), held(), TASK)
    assert (found.pairs, found.weighted, found.of) == ((), 0, 2)


def test_a_layer_is_known_by_what_it_says_and_not_by_its_name():
    wrapped = nn.Sequential(nn.ModuleDict({"a": nn.Identity()})["a"], nn.Sequential(*net()[:5]),
                            nn.Sigmoid(), net()[5])  # fmt: skip
    assert kept(net(), wrapped, held(), TASK).pairs[:3] == (
        ("1.1", "1"),
        ("1.2", "2"),
        ("1.3", "3"),
    )


def test_models_are_left_as_they_were():
    model = net().train()
    kept(model, model, held(), TASK)
    assert model.training
    assert not any(m._forward_hooks for m in model.modules())
