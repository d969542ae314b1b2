"""Half precision: only where a method bears it, and where it pays."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Fit, Request, Samples, split, unlearn, unlearning
from expunge.errors import BatchUnreadable
from expunge.method import Method
from expunge.methods.finetune import Finetune
from expunge.precision import bf16_pays, channels_last, half


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 16, 3, bias=False), nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


class Viewing(nn.Module):
    """It takes what a convolution answers for rows in memory, as many textbooks do."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 16, 3, bias=False), nn.Linear(16 * 36, 2)

    def forward(self, x):
        return self.head(self.body(x).view(len(x), -1))


@dataclass(frozen=True)
class Spy(Method):
    half: ClassVar[bool] = False

    def forget(self, model, case):
        x, _ = next(iter(case.forget))
        type(self).seen = model.body(x).dtype
        return model


class Bearing(Spy):
    half: ClassVar[bool] = True


@pytest.mark.parametrize("able", [True, False])
def test_half_precision_pays_on_processors_that_multiply_matrices_in_it(monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: able)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for wide in (Wide(), nn.Linear(400, 384)):
        assert bf16_pays(wide) == able
    for narrow in (nn.Conv2d(3, 8, 3), nn.Linear(383, 384)):
        assert not bf16_pays(narrow)


@pytest.mark.parametrize("method", [Spy, Bearing])
def test_a_method_computes_in_half_precision_only_where_it_says_so(method):
    data = TensorDataset(torch.randn(12, 2, 8, 8), torch.arange(12) % 2)
    parts = split(data, Request(Samples((0, 1))), test=data)
    model = Wide()
    outcome = unlearn(model, parts, method(), task=Classification())
    wanted = torch.bfloat16 if method.half and bf16_pays(model) else torch.float32
    assert method.seen == wanted
    assert {p.dtype for p in outcome.after.parameters()} == {torch.float32}


def test_weights_are_cast_anew_at_every_use():
    model, x = nn.Linear(4, 4), torch.ones(1, 4)
    with torch.no_grad(), half(model):
        before = model(x)
        model.weight += 1
        assert not torch.equal(model(x), before)


def test_another_memory_order_changes_no_value():
    model = Wide()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    laid = channels_last(model)
    assert laid.body.weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in laid.state_dict().items():
        assert torch.equal(value, kept[name])


def test_convolutions_that_do_not_bear_it_keep_their_layout_and_those_beside_them():
    """Torch's own pass backward ends the process where these are laid out otherwise."""
    narrow = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1, stride=2))
    assert channels_last(narrow)[0].weight.is_contiguous()
    x = torch.randn(46, 3, 9, 9)
    narrow(x).square().mean().backward()
    wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1, stride=2))
    laid = channels_last(wide)[0].weight
    assert not laid.is_contiguous()
    assert laid.is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_cannot_be_asked_in_another_memory_order_keeps_its_own():
    model, x = Viewing(), torch.randn(3, 2, 8, 8)
    draws = torch.get_rng_state()
    assert channels_last(model, lambda: model(x)).body.weight.is_contiguous()
    assert model.training
    assert torch.equal(torch.get_rng_state(), draws)
    assert not channels_last(Wide(), lambda: None).body.weight.is_contiguous()


@pytest.mark.parametrize("build", [Wide, Viewing])
def test_whoever_gets_a_model_finds_its_memory_in_the_order_it_was(build, monkeypatch):
    data = TensorDataset(torch.randn(12, 2, 8, 8), torch.arange(12) % 2)
    model = Fit(epochs=1, lr=0.01, precision="bf16")(build(), data)
    assert model.body.weight.is_contiguous()
    monkeypatch.setattr(unlearning, "bf16_pays", lambda _model: True)
    parts = split(data, Request(Samples((0, 1))), test=data)
    after = unlearn(model, parts, Finetune(epochs=1, lr=0.01), task=Classification()).after
    assert after.body.weight.is_contiguous()
    assert not torch.equal(after.body.weight, model.body.weight)


def test_training_in_half_precision_asks_a_viewing_model_in_the_order_that_it_bears():
    data = TensorDataset(torch.randn(12, 2, 8, 8), torch.arange(12) % 2)
    model = Fit(epochs=1, lr=0.01, batch=6, precision="bf16")(Viewing(), data)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_words_that_no_model_knows_are_told_alike_in_any_precision(precision):
    class Reading(nn.Sequential):
        def forward(self, x):
            return super().forward(x).mean(1)

    data = TensorDataset(torch.full((12, 3), 9), torch.arange(12) % 2)
    with pytest.raises(BatchUnreadable, match=r"int64 \(6, 3\)"):
        Fit(epochs=1, batch=6, precision=precision)(Reading(nn.Embedding(5, 2)), data)
