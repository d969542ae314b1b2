"""What an erasure keeps: precision, the original, frozen heads, and earlier erasures."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.erasing.inserting import ErasedInput, Erasure
from expunge.methods.leace import Leace
from expunge.unlearning import unlearn

N, D, H, C, K = 230, 6, 12, 2, 3  # samples, inputs, features, classes and groups of the toy


def rank(layer):
    erasure = layer.before if isinstance(layer, ErasedInput) else layer.after
    return int(torch.linalg.matrix_rank(erasure.matrix, rtol=1e-9))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_features_of_any_precision_come_back_in_it_and_are_erased(toy, dtype):
    x, y, z = toy.drawn()
    model, data = toy.built(toy.network).to(dtype), TensorDataset(x.to(dtype), y, z)
    after = toy.erased(model, data=data).after
    found = toy.features(after, toy.reading(), (x.to(dtype), y, z))
    assert found.dtype == dtype
    assert after(x.to(dtype)).dtype == dtype
    assert after[2].before.matrix.dtype == torch.double
    coarse = 10 * torch.finfo(dtype).eps
    assert toy.told_inside(found, y, z, flat=max(coarse, 1e-4)) < 1e-6 + coarse


def test_double_precision_leaves_nothing_that_a_probe_could_blow_up(toy):
    x, y, z = toy.drawn()
    data = TensorDataset(x.double(), y, z)
    after = toy.erased(toy.built(toy.network).double(), data=data).after
    found = toy.features(after, toy.reading(), data.tensors)
    for k in range(C):
        rows, answers = found[y == k] - found[y == k].mean(0), F.one_hot(z[y == k], K).double()
        assert (rows.T @ (answers - answers.mean(0)) / len(rows)).abs().max() < 1e-14


def test_a_model_cast_after_its_erasure_still_runs(toy):
    after = toy.erased(toy.built(toy.network)).after
    x = toy.drawn()[0]
    want = after(x)
    torch.testing.assert_close(after.float()(x), want, atol=1e-5, rtol=1e-5)
    assert after.half()(x.half()).dtype == torch.float16


def test_every_sample_passes_once_and_a_few_more_show_the_place(toy):
    seen, modes = [], set()

    class Counting(nn.Linear):
        def forward(self, x):
            seen.append(len(x))
            modes.add((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    toy.erased(toy.built(lambda: nn.Sequential(Counting(D, H), nn.Tanh(), nn.Linear(H, C))))
    assert sum(seen) == N + 2 * 8
    assert modes == {(False, False)}


def test_the_original_is_untouched_and_another_run_gives_the_same_weights(toy):
    model = toy.built(toy.network)
    kept, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, again = toy.erased(model).after, toy.erased(model).after
    assert all(torch.equal(v, kept[name]) for name, v in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not any(m.training or m._forward_hooks for m in first.modules())


def test_a_frozen_head_stays_and_an_erasure_never_learns(toy):
    model = toy.built(toy.network)
    model[2].requires_grad_(requires_grad=False)
    outcome = toy.erased(model)
    assert outcome.notes[-1] == "the head stays: it is frozen"
    assert torch.equal(outcome.after[2].layer.weight, model[2].weight)
    assert not any(p.requires_grad for p in outcome.after[2].parameters())
    outcome.after(toy.drawn()[0])[:, 0].sum().backward()
    assert outcome.after[0].weight.grad.abs().max() > 0


def test_a_second_erasure_composes_with_the_first_and_adds_no_layer(toy):
    x, y, z = toy.drawn()
    tall = x[:, 4] + 0.5 * torch.randn(N, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(x, y, z, tall)
    task = Classification(
        attributes={"hat": lambda batch: batch[2], "height": lambda batch: batch[3]}
    )
    model = toy.built(toy.network)
    for name in ("hat", "height"):
        parts = split(data, Request(Attribute(name)), test=data)
        model = unlearn(model, parts, Leace(), task=task).after
    assert sum(isinstance(m, Erasure) for m in model.modules()) == 1
    assert rank(model[2]) == H - C * (K - 1) - C
    found = toy.features(model, task, data.tensors)
    assert toy.told_inside(found, y, z) < 1e-6
    assert max(toy.told(found[y == k], tall[y == k, None]) for k in range(C)) < 1e-6


def test_a_second_erasure_after_a_named_layer_composes_too(toy):
    task, model = toy.reading(layer="1"), toy.built(toy.network)
    first = toy.erased(model, task, method=Leace(condition_on="nothing"))
    second = toy.erased(first.after, task)
    assert sum(isinstance(m, Erasure) for m in second.after.modules()) == 1
    assert rank(first.after[1]) == H - (K - 1)
    assert rank(second.after[1]) < rank(first.after[1])
    assert f"{rank(second.after[1])} are left" in second.notes[0]
    assert toy.told_inside(toy.features(second.after, task), *toy.drawn()[1:]) < 1e-6


@pytest.mark.parametrize("layer", ["1", "1.after"])
def test_to_erase_again_what_was_erased_takes_nothing_more(toy, layer):
    task = toy.reading(layer="1")
    once = toy.erased(toy.built(toy.network), task).after
    again = toy.erased(once, toy.reading(layer=layer)).after
    assert rank(again[1]) == rank(once[1])
    torch.testing.assert_close(
        toy.features(again, task), toy.features(once, task), atol=1e-5, rtol=0
    )
