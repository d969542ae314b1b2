"""Blocks of parameters against plain indexing of what ``flatten`` gives."""

import pytest
import torch
from torch import nn

from expunge.algebra.parameters import Block

CONV = torch.tensor([41, 3, 17, 0])
LINEAR = torch.tensor([29, 2])


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 3), nn.Linear(3, 3)
        self.outer.weight = self.inner.weight


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 5, 2), nn.Flatten(), nn.Linear(20, 4))


@pytest.fixture(params=["contiguous", "channels last"])
def laid_out(model, request):
    """The model with its convolution laid out in memory in either way."""
    if request.param == "channels last":
        model = model.to(memory_format=torch.channels_last)
        assert not model[0].weight.is_contiguous()
    return model


@pytest.fixture
def block():
    return Block({"0.weight": CONV, "2.weight": LINEAR, "0.bias": torch.tensor([4])})


def tensors(model):
    return dict(model.named_parameters())


def bits(model):
    """What every parameter holds, to the last bit, in logical order."""
    return {name: p.detach().flatten().view(torch.int32) for name, p in tensors(model).items()}


def test_a_block_is_as_long_as_all_its_positions(block):
    assert len(block) == 7


def test_gather_picks_in_the_order_of_names_and_then_of_positions(laid_out, block):
    weights = [laid_out[0].weight.flatten()[CONV], laid_out[2].weight.flatten()[LINEAR]]
    wanted = torch.cat([*weights, laid_out[0].bias[4:]])
    assert torch.equal(block.gather(tensors(laid_out)), wanted)


def test_gather_can_be_differentiated(laid_out, block):
    weights = torch.arange(1.0, 8.0)
    (slope,) = torch.autograd.grad(
        block.gather(tensors(laid_out)) @ weights, laid_out[0].weight, allow_unused=True
    )
    wanted = torch.zeros(60).index_put((CONV,), weights[:4])
    assert torch.equal(slope.flatten(), wanted)


def test_scatter_can_be_differentiated(laid_out, block):
    vector = torch.randn(7, generator=torch.Generator().manual_seed(2)).requires_grad_()
    spread = block.scatter(vector, tensors(laid_out))
    total = sum(part.square().sum() for part in spread.values())
    torch.testing.assert_close(torch.autograd.grad(total, vector)[0], 2 * vector.detach())


def test_scatter_puts_back_what_gather_picks_and_nothing_else(laid_out, block):
    vector = torch.arange(1.0, 8.0)
    spread = block.scatter(vector, tensors(laid_out))
    assert [*spread] == ["0.weight", "2.weight", "0.bias"]
    assert all(spread[name].stride() == tensors(laid_out)[name].stride() for name in spread)
    assert torch.equal(block.gather(spread), vector)
    assert sum(part.count_nonzero() for part in spread.values()) == 7


def test_scatter_takes_the_precision_of_what_it_fills(model, block):
    spread = block.scatter(torch.ones(7, dtype=torch.double), tensors(model))
    assert {part.dtype for part in spread.values()} == {torch.float}


def test_move_adds_the_step_in_place_and_keeps_the_layout(laid_out, block):
    weight = laid_out[0].weight
    before, layout, place = block.gather(tensors(laid_out)), weight.stride(), weight.data_ptr()
    step = torch.linspace(-1, 1, 7)
    block.move(laid_out, step)
    assert torch.equal(block.gather(tensors(laid_out)), before + step)
    assert laid_out[0].weight is weight
    assert (weight.stride(), weight.data_ptr()) == (layout, place)
    assert all(p.requires_grad and p.grad_fn is None for p in laid_out.parameters())


def test_move_leaves_every_other_number_to_its_last_bit(laid_out, block):
    with torch.no_grad():
        laid_out[2].weight[1, 1] = -0.0
    before = bits(laid_out)
    block.move(laid_out, torch.ones(7))
    outside = {name: torch.ones(len(was), dtype=torch.bool) for name, was in before.items()}
    for name, at in block.positions.items():
        outside[name][at] = False
    after = bits(laid_out)
    assert all(torch.equal(before[n][kept], after[n][kept]) for n, kept in outside.items())


def test_a_step_in_double_precision_moves_a_model_in_single_precision(model, block):
    before = block.gather(tensors(model)).detach()
    block.move(model, torch.full((7,), 0.5, dtype=torch.double))
    assert torch.equal(block.gather(tensors(model)), before + 0.5)


def test_there_and_back_again_is_where_it_was(laid_out, block):
    before = block.gather(tensors(laid_out)).detach()
    step = torch.linspace(-1, 1, 7)
    block.move(laid_out, step)
    block.move(laid_out, -step)
    torch.testing.assert_close(block.gather(tensors(laid_out)), before, rtol=0, atol=1e-6)


def test_the_whole_model_is_every_parameter_that_may_learn(laid_out):
    laid_out[2].bias.requires_grad = False
    block = Block.whole(laid_out)
    assert [*block.positions] == ["0.weight", "0.bias", "2.weight"]
    wanted = [laid_out[0].weight, laid_out[0].bias, laid_out[2].weight]
    assert torch.equal(block.gather(tensors(laid_out)), torch.cat([p.flatten() for p in wanted]))


def test_a_tied_parameter_is_there_once_and_moves_once():
    model = Tied()
    block = Block.whole(model)
    assert len(block) == 9 + 3 + 3
    before = model.inner.weight.detach().clone()
    block.move(model, torch.ones(15))
    assert model.outer.weight is model.inner.weight
    assert torch.equal(model.outer.weight, before + 1)


def test_a_tied_parameter_moves_by_either_of_its_names():
    model = Tied()
    before = model.inner.weight.detach().clone()
    Block({"outer.weight": torch.tensor([5])}).move(model, torch.ones(1))
    assert torch.equal((model.inner.weight - before).flatten().nonzero(), torch.tensor([[5]]))
