"""What units say in a pass, which of them say nothing, and that watching leaves no trace."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge.errors import ModelDoesNotFit
from expunge.units import Units, watched


def test_a_unit_of_a_linear_layer_says_its_output_or_its_mean_over_tokens(bench):
    model, rows, tokens = nn.Linear(4, 3), bench.drawn(4, dtype=None), bench.drawn(5, 4, dtype=None)
    torch.testing.assert_close(bench.said(model, rows), model(rows).detach())
    wanted = torch.stack([model(tokens)[:, t] for t in range(5)]).sum(0) / 5
    torch.testing.assert_close(bench.said(model, tokens), wanted.detach())


def test_a_unit_of_a_convolution_says_its_mean_over_space(bench):
    model, x = nn.Conv2d(2, 3, 3), bench.drawn(2, 5, 4, dtype=None)
    wanted = [[out[k].sum() / 6 for k in range(3)] for out in model(x).detach()]
    torch.testing.assert_close(bench.said(model, x), torch.tensor(wanted))


@pytest.mark.parametrize("gradients", [False, True])
def test_units_speak_before_anything_is_overwritten(gradients, bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    with torch.set_grad_enabled(gradients), watched(model, Units.of(model)) as calls:
        out = model(x)
    found = calls.activations()
    assert not found.requires_grad
    assert found.dtype == torch.float32
    names = [Units.of(model).name(k) for k in range(len(Units.of(model)))]
    stem = model.stem(x).mean((2, 3))
    body = F.relu(model.norm(model.stem(x)))
    inner = model.first(body)
    middle = model.second(F.relu(inner))
    after = model.first(F.relu(middle + body))
    first = (inner.mean((2, 3)) + after.mean((2, 3))) / 2
    for layer, wanted in [("stem", stem), ("second", middle.mean((2, 3))), ("first", first)]:
        columns = found[:, [name.startswith(layer) for name in names]]
        torch.testing.assert_close(columns, wanted.float())
    torch.testing.assert_close(found[:, :3], out.float())


def test_without_gradients_nothing_of_the_pass_is_held(bench):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), bench.drawn(4, dtype=None)
    inner = []
    model[1].register_forward_pre_hook(lambda _module, args: inner.append(weakref.ref(*args)))
    with torch.no_grad(), watched(model, Units.of(model)) as calls:
        model(x)
    assert inner[0]() is None
    assert all(call.x is None for runs in calls._calls.values() for call in runs)
    assert calls.activations().shape == (bench.N, 5)


def test_pictures_laid_out_with_channels_last_give_the_same(bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    x = x.contiguous(memory_format=torch.channels_last)
    wanted = bench.said(model, x.contiguous())
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(bench.said(model, x), wanted)
    bench.agree(model, x)


def test_means_of_half_precision_are_not_rounded_to_it(bench):
    model, x = nn.Linear(4, 3).bfloat16(), bench.drawn(5, 4, dtype=torch.bfloat16)
    torch.testing.assert_close(bench.said(model, x), model(x).detach().float().mean(1))
    assert bench.asked(model, x, [0, 2]).dtype == torch.float32


class Attending(nn.Module):
    """Attention that uses its projections without calling them, and a head that is not asked."""

    def __init__(self, *, tokens_first):
        super().__init__()
        self.tokens_first = tokens_first
        self.layer = nn.TransformerEncoderLayer(
            4, 2, 7, dropout=0.0, batch_first=not tokens_first, activation="gelu"
        )
        self.unasked = nn.Linear(4, 2)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.layer(x.transpose(0, 1)).transpose(0, 1) if self.tokens_first else self.layer(x)
        return self.head(x.mean(1))


@pytest.mark.parametrize(
    ("tokens_first", "layers"),
    [(False, ["layer.linear1", "layer.linear2", "head"]), (True, ["head"])],
)
def test_units_that_do_not_speak_for_every_sample_are_dropped(tokens_first, layers, bench):
    model, x = bench.ready(Attending(tokens_first=tokens_first)), bench.drawn(5, 4)
    every = Units.of(model)
    units = every.heard(model, lambda: model(x[:2]))
    assert [layer.name for layer in units.layers] == layers
    assert bench.said(model, x, units).shape == (bench.N, len(units))
    torch.testing.assert_close(bench.said(model, x, units)[:, -3:], model(x).detach().float())
    bench.agree(model, x, units=units)
    with pytest.raises(ModelDoesNotFit, match=f"spoke for none of {bench.N} samples") as caught:
        bench.said(model, x, every)
    assert "units.heard" in caught.value.hint


def test_a_layer_with_another_first_axis_than_the_samples_is_not_asked_for_gradients(bench):
    model, x = Attending(tokens_first=True), bench.drawn(5, 4, dtype=None)
    units = Units.of(model)
    unit = next(k for k in range(len(units)) if units.name(k) == "layer.linear1[0]")
    with pytest.raises(ModelDoesNotFit, match=f"'layer.linear1' spoke for 5 of {bench.N} samples"):
        bench.asked(model, x, [unit], units)


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Linear(4, 3), (4,)), (nn.Conv2d(4, 6, 1), (4, 5, 3))]
)
def test_one_sample_without_an_axis_of_its_own_is_no_batch(layer, shape):
    x = torch.randn(shape)
    with watched(layer, Units.of(layer)) as calls:
        layer(x)
    with pytest.raises(ModelDoesNotFit, match="spoke for 0 of 0 samples"):
        calls.activations()


def test_an_input_by_keyword_is_an_input(bench):
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(4, 3)

        def forward(self, x):
            return self.body(input=x)

    bench.agree(Keyword().double(), bench.drawn(4))


def test_a_hook_of_the_user_comes_after_ours(bench):
    model, x = nn.Linear(4, 3).double(), bench.drawn(4)
    model.register_forward_hook(lambda _module, _args, out: out.exp())
    torch.testing.assert_close(bench.said(model, x), F.linear(x, model.weight, model.bias).float())
    bench.agree(model, x)


def test_watching_changes_no_answer_and_leaves_nothing_in_the_model(bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = model(x)
    with watched(model, Units.of(model)) as calls:
        assert bench.hooks(model) == 6
        found = model(x)
        calls.gradients(bench.own(found), [0, 9])
    assert found.equal(wanted)
    assert bench.hooks(model) == 0
    assert all(value.equal(kept[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_no_hook_stays_behind_after_a_failure(bench):
    model = bench.Residual()
    units = Units.of(model)
    with pytest.raises(RuntimeError), watched(model, units):
        model(torch.ones(bench.N, 3, 9, 7))
    with pytest.raises(AttributeError), watched(nn.ModuleDict({"head": model.head}), units):
        pass
    assert bench.hooks(model) == 0
