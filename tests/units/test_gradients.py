"""What every sample asks of the weights behind units, as if it had come alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge.algebra import affine
from expunge.errors import MissingInput
from expunge.units import Units, watched


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 3), padding=(1, 2)),
        nn.Conv2d(4, 6, 3, dilation=(1, 2), groups=2, bias=False),
        nn.Conv2d(4, 8, 3, groups=4, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 3)),
        nn.Conv2d(4, 6, (4, 3), padding="same", padding_mode="circular"),
        nn.Conv2d(4, 6, 3, stride=2, padding="valid", padding_mode="replicate"),
        nn.Conv2d(4, 6, 3, stride=2, padding=(2, 1), padding_mode="circular"),
        nn.Conv2d(4, 6, 1, stride=2),
    ],
    ids=lambda layer: layer.extra_repr(),
)
def test_gradients_of_a_convolution_are_those_of_one_sample_after_another(layer, bench):
    model, x = bench.ready(nn.Sequential(nn.BatchNorm2d(4), layer)), bench.drawn(4, 9, 11)
    bench.agree(model, x)
    bench.agree(model, x, [5, 0, 3])


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 6, 3, stride=2, padding=2, bias=False),
        nn.Conv1d(4, 6, 2, groups=2, dilation=3),
        nn.Conv1d(4, 6, 4, padding="same", padding_mode="circular"),
        nn.Conv1d(4, 4, 3, groups=4, padding=1, padding_mode="reflect"),
    ],
    ids=lambda layer: layer.extra_repr(),
)
def test_gradients_of_a_convolution_along_a_line_are_too(layer, bench):
    model, x = bench.ready(layer), bench.drawn(4, 11)
    bench.agree(model, x)
    bench.agree(model, x, [2, 1])


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 5, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_a_linear_layer_are_summed_over_tokens(shape, bias, bench):
    model = nn.Sequential(nn.Linear(4, 7, bias=bias), nn.ReLU(inplace=True), nn.Linear(7, 3))
    model, x = bench.ready(model), bench.drawn(*shape)
    bench.agree(model, x)
    bench.agree(model, x, [9, 2])


def test_gradients_survive_whatever_goes_in_place_and_layers_that_run_twice(bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    bench.agree(model, x)
    bench.agree(model, x, [26, 4, 11, 8, 1, 17])


def test_gradients_are_those_of_any_number_a_sample(bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    units = Units.of(model)
    with watched(model, units) as calls:
        logits = model(x)
        found = [calls.gradients(logits[:, c], [4, 18]) for c in range(3)]
    names, parameters = zip(*model.named_parameters(), strict=True)
    for c, rows in enumerate(found):
        for sample, row in zip(x.split(1), rows, strict=True):
            told = torch.autograd.grad(
                model(sample)[0, c], parameters, allow_unused=True, materialize_grads=True
            )
            wanted = units.block([4, 18]).gather(dict(zip(names, told, strict=True)))
            torch.testing.assert_close(row, wanted, rtol=1e-10, atol=1e-10)


def test_several_numbers_a_sample_are_asked_at_once_as_one_after_another(bench):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    with watched(model, Units.of(model)) as calls:
        logits = model(bench.drawn(4))
    together = calls.gradients(logits, [0, 6])
    apart = [calls.gradients(logits[:, c], [0, 6]) for c in range(3)]
    torch.testing.assert_close(together, torch.stack(apart, 1), rtol=1e-12, atol=1e-12)


def test_many_samples_are_served_a_few_at_a_time(monkeypatch, bench):
    model, x = bench.ready(bench.Residual()), bench.drawn(2, 9, 7)
    sizes, windows = [], affine._windows
    monkeypatch.setattr(
        affine, "_windows", lambda *args: sizes.append(len(args[1])) or windows(*args)
    )
    whole = bench.asked(model, x, [3, 4, 20])
    assert set(sizes) == {bench.N}
    sizes.clear()
    monkeypatch.setattr(affine, "_MOST", 40_000)
    torch.testing.assert_close(bench.asked(model, x, [3, 4, 20]), whole)
    assert 1 <= min(sizes) < bench.N


def test_half_precision_in_the_model_is_single_precision_in_the_products(bench):
    model, x = bench.ready(bench.Residual(), torch.float32), bench.drawn(2, 9, 7, dtype=None)
    units, chosen = Units.of(model), [1, 4, 12, 20]
    wanted, spoken = bench.asked(model, x, chosen), bench.said(model, x)
    with torch.autocast("cpu", torch.bfloat16), watched(model, units) as calls:
        numbers = bench.own(model(x))
        found = calls.gradients(numbers, chosen)
    assert found.dtype == calls.activations().dtype == torch.float32
    assert found.equal(calls.gradients(numbers, chosen))
    torch.testing.assert_close(calls.activations(), spoken, rtol=0.05, atol=0.05)
    assert F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.99


def test_numbers_that_rest_on_no_chosen_unit_have_no_slope_there(bench):
    model, x = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 2)]), bench.drawn(4, dtype=None)
    with watched(model, Units.of(model)) as calls:
        _, right = model[0](x), model[1](x)
    found = calls.gradients(right.sum(1), [0, 4])
    assert found[:, :5].count_nonzero() == 0
    torch.testing.assert_close(found[:, 5:], torch.cat([x, torch.ones(bench.N, 1)], 1))
    assert calls.gradients(right.sum(1), []).shape == (bench.N, 0)


def test_a_run_without_gradients_adds_none(bench):
    model, x = nn.Linear(4, 4).double(), bench.drawn(4)
    with watched(model, Units.of(model)) as calls:
        with torch.no_grad():
            start = model(x)
        out = model(start)
    found = calls.gradients(out.sum(1), [2])
    torch.testing.assert_close(found, torch.cat([start, torch.ones(bench.N, 1).double()], 1))
    torch.testing.assert_close(calls.activations(), ((start + out) / 2).detach().float())


def test_numbers_without_a_graph_are_refused(bench):
    model = nn.Linear(4, 3)
    with torch.no_grad(), watched(model, Units.of(model)) as calls:
        out = model(bench.drawn(4, dtype=None))
    with pytest.raises(MissingInput, match="carry no gradient"):
        calls.gradients(out.sum(1), [0])
