"""Which units a model has, what they are called, and which numbers lie behind them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge.errors import ModelDoesNotFit
from expunge.problems.networks import resnet18
from expunge.units import Units


def test_a_perceptron_has_a_unit_an_output():
    model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    assert len(Units.of(model)) == 110


def test_a_residual_network_has_a_unit_a_channel_and_a_class():
    with torch.device("meta"):
        assert len(Units.of(resnet18(width=64))) == 4810


@pytest.mark.parametrize(
    ("unit", "name"),
    [(0, "head[0]"), (2, "head[2]"), (3, "second[0]"), (10, "tokens[3]"), (11, "first[0]")],
)
def test_a_unit_is_named_by_its_layer_and_its_output(unit, name, bench):
    assert Units.of(bench.Residual()).name(unit) == name


def test_a_block_holds_the_row_of_the_weight_and_the_number_of_the_bias(bench):
    model = bench.Residual()
    units, chosen = Units.of(model), [20, 4, 16, 4]
    assert [units.name(k) for k in chosen[:3]] == ["line[1]", "second[1]", "stem[1]"]
    block = units.block(chosen)
    there = dict(model.named_parameters())
    wanted = [there["second.weight"][1], there["second.bias"][1:2], there["stem.weight"][1]]
    wanted += [there["line.weight"][1], there["line.bias"][1:2]]
    assert block.gather(there).equal(torch.cat([part.flatten() for part in wanted]))


def test_all_units_together_are_every_number_of_their_layers_once(bench):
    model = bench.Residual()
    block = Units.of(model).block(range(len(Units.of(model))))
    norm = sum(p.numel() for p in model.norm.parameters())
    assert len(block) == sum(p.numel() for p in model.parameters()) - norm
    for name, positions in block.positions.items():
        assert positions.tolist() == list(range(model.get_parameter(name).numel()))


def test_a_block_moves_its_own_units_alone(bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    units = Units.of(model)
    before = bench.said(model, x)
    first = [k for k in range(len(units)) if units.name(k).startswith("head")][1:2]
    block = units.block(first)
    block.move(model, torch.ones(len(block), dtype=torch.double))
    assert (bench.said(model, x) != before).any(0).nonzero().flatten().tolist() == first


def test_units_are_numbered_from_zero():
    units = Units.of(nn.Linear(3, 2))
    assert units.name(1) == "[1]"
    for wrong in (-1, 2):
        with pytest.raises(IndexError, match="from 0 to 1"):
            units.block([0, wrong])


class Tied(nn.Module):
    """Words in, scores of words out by the same weights, and a projection under two names."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.up, self.frozen = nn.Linear(4, 5), nn.Linear(5, 4)
        self.again = self.up
        self.scores = nn.Linear(4, 9)
        self.scores.weight = self.words.weight
        self.frozen.weight.requires_grad = False
        self.shared, self.sharing = nn.Linear(4, 4), nn.Linear(4, 4)
        self.sharing.bias = self.shared.bias

    def forward(self, x):
        x = self.frozen(self.up(self.words(x)))
        return self.scores(self.sharing(self.shared(x)))


def test_frozen_and_shared_weights_are_no_candidates_and_each_layer_is_one_once(bench):
    model = Tied()
    units = Units.of(model)
    assert [layer.name for layer in units.layers] == ["up", "shared", "sharing"]
    behind = ["up.weight", "up.bias", "shared.weight", "sharing.weight"]
    assert [*units.block(range(len(units))).positions] == behind
    bench.agree(model.double(), torch.randint(0, 9, (bench.N, 3)))


def test_a_layer_that_computes_something_of_its_own_is_no_candidate():
    class Scaled(nn.Linear):
        def forward(self, x):
            return F.linear(x, self.weight * 2, self.bias)

    class Standardised(nn.Conv2d):
        def _conv_forward(self, x, weight, bias):
            return super()._conv_forward(x, weight - weight.mean(), bias)

    class Named(nn.Linear):
        pass

    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    kinds = [Scaled(4, 3), Standardised(4, 3, 1), normed, nn.ConvTranspose2d(4, 3, 1), Named(4, 2)]
    units = Units.of(nn.ModuleList(kinds))
    assert [units.name(k) for k in range(len(units))] == ["4[0]", "4[1]"]


def test_a_model_without_candidates_is_told_what_they_are():
    with pytest.raises(ModelDoesNotFit, match="may learn") as caught:
        Units.of(nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4)))
    assert "nn.Conv2d" in caught.value.hint


def test_units_of_a_model_fit_its_copies(bench):
    model, copy = bench.ready(bench.Residual()), bench.ready(bench.Residual())
    copy.load_state_dict(model.state_dict())
    x, units = bench.drawn(2, 9, 7), Units.of(model)
    assert Units.of(copy) == units
    assert bench.said(copy, x, units).equal(bench.said(model, x, units))
