"""Secants, and the published curvature, against matrices that are known or written out."""

import pytest
import torch
from torch import nn

from expunge.algebra.parameters import Block
from expunge.moving import displaced, gradients
from expunge.secants import Past, published, secant

N, D = 11, 4
STEP = 1e-3  # learning rate between two gradients, as published


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Valley(nn.Module):
    """A quadratic: half of w·A·w, less b·w."""

    def __init__(self, bends):
        super().__init__()
        self.w = nn.Parameter(torch.randn(len(bends)).double())
        self.matrix, self.b = bends, torch.randn(len(bends)).double()

    def gradient(self):
        return {"w": self.matrix @ self.w.detach() - self.b}


class Twins(nn.Module):
    """Two layers that read alike, and have gradients of their own; a third that is frozen."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(D, D).double() for _ in range(3))
        self.third.requires_grad_(requires_grad=False)
        self.x, self.y = (torch.randn(N, D).double() for _ in range(2))

    def loss(self, x, y):
        return (self.third(self.second(self.first(x).tanh()).tanh()) - y).square().mean()

    def gradient(self, rows=slice(None)):
        return gradients(self, self.loss(self.x[rows], self.y[rows]))


def definite(k):
    half = torch.randn(k, k).double()
    return half @ half.T + 0.1 * torch.eye(k)


def bits(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def unchanged(model, before):
    return all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("some", [range(5), (1, 3)])
def test_a_secant_bends_as_the_matrix_does_along_the_gradient(some):
    valley = Valley(definite(5))
    before, block = bits(valley), Block({"w": torch.tensor([*some])})
    row = secant(valley, block, valley.gradient)
    inside = valley.matrix[[*some]][:, [*some]]
    slope = valley.gradient()["w"][[*some]]
    torch.testing.assert_close(row * (row @ slope), inside @ slope, rtol=1e-8, atol=1e-8)
    assert unchanged(valley, before)


def test_where_the_loss_bends_down_no_curvature_was_seen():
    valley = Valley(-definite(5))
    assert torch.equal(
        secant(valley, Block.whole(valley), valley.gradient), torch.zeros(5, dtype=torch.double)
    )


def test_where_there_is_no_slope_no_curvature_was_seen():
    valley = Valley(definite(5))
    still = {"w": torch.zeros(5, dtype=torch.double)}
    assert not secant(valley, Block.whole(valley), lambda: still).any()


def test_a_past_is_the_change_of_the_gradient_over_one_step_of_training():
    """The second gradient is taken where the step has led, and then the step is undone."""
    twins = Twins()
    before = bits(twins)
    past = Past.of(twins, twins.gradient)
    assert unchanged(twins, before)
    first = twins.gradient()
    with torch.no_grad():
        for name, slope in first.items():
            twins.get_parameter(name).sub_(STEP * slope)
    for name, second in twins.gradient().items():
        torch.testing.assert_close(past.change[name], second - first[name], atol=1e-14, rtol=1e-9)
        torch.testing.assert_close(past.moved[name], -STEP * first[name])
        assert past.change[name].any()


@pytest.mark.parametrize(("n", "m"), [(11, 1), (11, 4)])
def test_the_published_step_is_that_of_the_dense_formula(n, m):
    """H' = (n H_old - m H_z) / (n - m), each an outer product over an L1 distance, and damped."""
    twins = Twins()
    names = ("second.weight", "second.bias")  # another layer reads just the same
    at = (torch.tensor([0, 5, 6, 13]), torch.tensor([2]))
    block = Block(dict(zip(names, at, strict=True)))
    old, own = (Past.of(twins, lambda r=r: twins.gradient(r)) for r in (slice(n), slice(m)))
    pull = block.gather(twins.gradient(slice(m))) * m

    def curvature(past):
        change = torch.cat([past.change[k].flatten()[i] for k, i in zip(names, at, strict=True)])
        moved = torch.cat([past.moved[k].flatten()[i] for k, i in zip(names, at, strict=True)])
        return torch.outer(change, change) / moved.abs().sum()

    bent = (n * curvature(old) - m * curvature(own)) / (n - m)
    wanted = torch.linalg.solve(bent + 0.02 * torch.eye(5), pull)
    found = published(block, pull, (old, own), share=m / (n - m), damping=0.02)
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)


def test_gradients_go_by_name_and_leave_out_what_is_frozen():
    twins = Twins()
    twins.spare = nn.Linear(2, 3)
    found = twins.gradient()
    assert sorted({name.partition(".")[0] for name in found}) == ["first", "second", "spare"]
    assert not found["spare.weight"].any()
    twins.loss(twins.x, twins.y).backward()
    assert torch.equal(found["second.weight"], twins.second.weight.grad)


def test_a_model_comes_back_bit_for_bit_even_from_a_fault():
    twins = Twins().float()
    before, block = bits(twins), Block.whole(twins)
    with displaced(twins, block, torch.full((len(block),), 1e8)):
        assert not unchanged(twins, before)
    assert unchanged(twins, before)

    def fail():
        with displaced(twins, block, torch.ones(len(block))):
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert unchanged(twins, before)
