"""Models that cannot be believed are told from those that can."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.doubting import check, same_as_before
from expunge.errors import MissingInput
from expunge.observing import Observation
from expunge.representing import drawing
from expunge.reserving import reserve

N, D, H, C = 60, 5, 7, 3


class Net(nn.Module):
    """Features, something that is done to them, and answers from them and from a side door."""

    def __init__(self, done=lambda h: h, side=0.0, through=1.0):
        super().__init__()
        with drawing(1):
            self.body, self.head = nn.Linear(D, H), nn.Linear(H, C)
            self.aside, self.done, self.by, self.through = nn.Linear(D, C), done, side, through

    def forward(self, x):
        return self.through * self.head(self.done(self.body(x))) + self.by * self.aside(x)


class Counting(nn.Module):
    """Answers otherwise from the second time on."""

    def __init__(self):
        super().__init__()
        self.asked, self.head = 0, nn.Linear(D, C)

    def forward(self, x):
        self.asked += 1
        return self.head(x) * min(self.asked, 2)


def checked(model, layer="auto"):
    task = Classification(layer=layer, attributes={"sign": lambda batch: batch[2]})
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    test = TensorDataset(x, torch.arange(N) % C, (x[:, 0] > 0).long())
    parts = split(test, Request(Attribute("sign")), test=test)
    return check(model, reserve(parts, task, ["sign"]), task)


@pytest.mark.parametrize("layer", ["auto", "body"])
def test_a_model_that_answers_from_its_features_and_always_alike_is_believed(layer):
    assert checked(Net(), layer) == ""
    assert checked(Net(done=torch.round), layer) == ""  # no slope is needed
    assert checked(Net().half().float(), layer) == ""


def test_dropout_that_is_off_in_evaluation_is_no_noise_and_modes_are_given_back():
    model = Net(done=nn.Dropout(0.5)).train()
    assert checked(model) == ""
    assert model.done.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("noise", [1.0, 0.05])
@pytest.mark.parametrize("layer", ["auto", "body"])
def test_a_model_that_draws_at_random_is_not_believed(layer, noise):
    with pytest.raises(MissingInput, match="are others when it is asked again") as caught:
        checked(Net(done=lambda h: h + noise * torch.randn_like(h)), layer)
    assert "evaluation mode" in caught.value.hint


def test_nor_is_one_that_answers_otherwise_the_second_time():
    with pytest.raises(MissingInput, match="the answers of the same samples"):
        checked(Counting())


@pytest.mark.parametrize("side", [1.0, 300.0])
def test_features_that_are_on_no_way_to_the_answers_are_told(side):
    with pytest.raises(MissingInput, match="no part in the answers") as caught:
        checked(Net(side=side, through=1e-3 if side > 1 else 0.0), "body")
    assert "layer=" in caught.value.hint


def test_answers_that_come_from_elsewhere_too_are_told():
    assert checked(Net(side=1.0), "body") == "; the answers come from other features as well"


def test_what_an_audit_heard_first_must_be_what_probes_hear():
    logits = torch.randn(N, C)
    seen = Observation(torch.arange(N).flip(0), logits.flip(0), torch.arange(N).flip(0) % C)
    aside = torch.randn(4, C)
    same_as_before(seen, torch.cat([aside, logits]))
    with pytest.raises(MissingInput, match="asked again"):
        same_as_before(seen, torch.cat([aside, -logits]))
