"""Curvature against dense Hessians and Jacobians, taken coordinate by coordinate."""

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.nn import functional as F

from expunge.algebra import curvature
from expunge.algebra.curvature import (
    conjugate_gradients,
    explicit,
    gauss_newton,
    in_logits,
    root,
    woodbury,
)
from expunge.algebra.parameters import Block
from expunge.errors import BadSetting


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Attentive(nn.Module):
    """One head of attention, by the kernel that PyTorch thinks fastest."""

    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.Linear(9, 6), nn.Linear(2, 4)

    def forward(self, x):
        q, k, v = self.mix(x.flatten(2)[:, None]).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean((1, 2)))


class Toy:
    """A model, its data in two batches, and the block of it that is looked at."""

    def __init__(self, model, block=None):
        self.model = model.double().eval()
        self.parameters = dict(model.named_parameters())
        self.block = block or Block.whole(model)
        self.batches = [(torch.randn(n, 2, 3, 3).double(), torch.arange(n) % 4) for n in (5, 7)]

    def losses(self):
        return [lambda b=b: F.cross_entropy(self.model(b[0]), b[1]) for b in self.batches]

    def answers(self):
        return [lambda x=x: self.linearised(x) for x, _ in self.batches]

    def linearised(self, x):
        logits = self.model(x)
        p = logits.detach().softmax(1)
        return logits, lambda v: p * v - p * (p * v).sum(1, keepdim=True)

    def said(self, vector, x):
        """The model's answer as a function of the block's numbers."""
        moved, start = {}, 0
        for name, at in self.block.positions.items():
            whole, numbers = self.parameters[name].detach(), vector[start : start + len(at)]
            moved[name] = whole.flatten().index_put((at,), numbers).view(whole.shape)
            start += len(at)
        return functional_call(self.model, moved, (x,))

    def total(self, vector):
        return sum(F.cross_entropy(self.said(vector, x), y) for x, y in self.batches)

    @property
    def place(self):
        parts = [
            self.parameters[n].detach().flatten()[at] for n, at in self.block.positions.items()
        ]
        return torch.cat(parts)


def cnn():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)
    )
    model(torch.randn(11, 2, 3, 3))
    return model


@pytest.fixture
def toy():
    some = {"0.weight": [17, 4, 9], "4.bias": [2, 0], "1.weight": [1], "4.weight": [40, 3, 8, 21]}
    return Toy(cnn(), Block({name: torch.tensor(at) for name, at in some.items()}))


@pytest.fixture
def linear():
    return Toy(nn.Sequential(nn.Flatten(), nn.Linear(18, 4)))


def matrix_of(product, block):
    return explicit(product, len(block), like=torch.zeros(1, dtype=torch.double))


def test_products_are_those_of_the_dense_hessian_of_all_losses_together(toy):
    product = curvature.hessian(toy.losses(), toy.parameters, toy.block)
    wanted = hessian(toy.total, toy.place)
    v = torch.randn(10, dtype=torch.double)
    torch.testing.assert_close(product(v), wanted @ v, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(matrix_of(product, toy.block), wanted, rtol=1e-9, atol=1e-12)


def test_products_leave_the_model_as_it_was(toy):
    before = {name: value.clone() for name, value in toy.model.state_dict().items()}
    with torch.no_grad():
        curvature.hessian(toy.losses(), toy.parameters, toy.block)(torch.ones(10).double())
    assert all(torch.equal(before[n], value) for n, value in toy.model.state_dict().items())
    assert all(p.grad is None for p in toy.model.parameters())


def test_layers_of_attention_have_curvature_too():
    some = {"mix.weight": torch.tensor([3, 11, 50]), "head.bias": torch.tensor([1])}
    toy = Toy(Attentive(), Block(some))
    v = torch.randn(4, dtype=torch.double)
    found = curvature.hessian(toy.losses(), toy.parameters, toy.block)(v)
    here, there = toy.place + 1e-5 * v, toy.place - 1e-5 * v
    change = jacobian(toy.total, here) - jacobian(toy.total, there)
    torch.testing.assert_close(found, change / 2e-5, rtol=1e-5, atol=1e-8)


def test_a_parameter_that_two_layers_share_bends_through_both():
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 18), nn.Tanh(), nn.Linear(18, 18))
    model[3].weight = model[1].weight
    toy = Toy(model, Block({"1.weight": torch.tensor([7, 0, 300, 55, 19])}))
    found = matrix_of(curvature.hessian(toy.losses(), toy.parameters, toy.block), toy.block)

    def total(vector):
        weight = model[1].weight.detach()
        moved = weight.flatten().index_put((toy.block.positions["1.weight"],), vector)
        both = dict.fromkeys(("1.weight", "3.weight"), moved.view(weight.shape))
        return sum(
            F.cross_entropy(functional_call(model, both, (x,), tie_weights=False), y)
            for x, y in toy.batches
        )

    torch.testing.assert_close(found, hessian(total, toy.place), rtol=1e-9, atol=1e-12)


def test_what_a_loss_does_not_depend_on_or_is_linear_in_has_no_curvature():
    parameters = {"a": torch.randn(3, requires_grad=True), "b": torch.randn(4, requires_grad=True)}
    block = Block({"a": torch.arange(3), "b": torch.tensor([2, 1])})
    unused = [lambda: parameters["a"].square().sum(), lambda: 3 * parameters["b"].sum()]
    found = curvature.hessian(unused, parameters, block)(torch.ones(5))
    assert torch.equal(found, torch.tensor([2.0, 2.0, 2.0, 0.0, 0.0]))


def test_gauss_newton_is_the_jacobian_on_both_sides_of_the_hessian_in_the_logits(toy):
    wanted = torch.zeros(10, 10, dtype=torch.double)
    for x, _ in toy.batches:
        p = toy.model(x).detach().softmax(1)
        inner = torch.diag_embed(p) - p[:, :, None] * p[:, None]
        slopes = jacobian(lambda v, x=x: toy.said(v, x), toy.place)
        wanted += torch.einsum("nck,ncd,ndl->kl", slopes, inner, slopes)
    found = matrix_of(gauss_newton(toy.answers(), toy.parameters, toy.block), toy.block)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_of_a_linear_model_gauss_newton_is_the_hessian(linear):
    v = torch.randn(len(linear.block), dtype=torch.double)
    sums = [
        lambda b=b: F.cross_entropy(linear.model(b[0]), b[1], reduction="sum")
        for b in linear.batches
    ]
    exact = curvature.hessian(sums, linear.parameters, linear.block)(v)
    found = gauss_newton(linear.answers(), linear.parameters, linear.block)(v)
    torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-12)


def test_gauss_newton_of_a_parameter_that_answers_do_not_read_is_zero(linear):
    linear.parameters["unread"] = torch.ones(2, dtype=torch.double, requires_grad=True)
    block = Block({"unread": torch.arange(2), "1.bias": torch.arange(4)})
    found = gauss_newton(linear.answers(), linear.parameters, block)(torch.randn(6).double())
    assert found[:2].abs().max() == 0
    assert found[2:].abs().min() > 0


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_a_vector_in_another_precision_than_the_model_keeps_its_own(toy, dtype):
    for product in (
        curvature.hessian(toy.losses(), toy.parameters, toy.block),
        gauss_newton(toy.answers(), toy.parameters, toy.block),
    ):
        assert product(torch.ones(10, dtype=dtype)).dtype == dtype


def test_the_hessian_in_the_logits_of_cross_entropy_is_the_covariance_of_a_draw():
    logits, y = torch.randn(5, 3, dtype=torch.double), torch.tensor([0, 2, 1, 1, 0])
    p = logits.softmax(1)
    with torch.no_grad():
        found = in_logits(lambda z: F.cross_entropy(z, y, reduction="none"), logits)
    torch.testing.assert_close(found, torch.diag_embed(p) - p[:, :, None] * p[:, None])


def test_the_hessian_in_the_logits_of_any_loss_is_that_of_every_sample_alone():
    logits = torch.randn(5, 3, dtype=torch.double)
    found = in_logits(lambda z: (z[:, 0] * z[:, 1].exp() * z[:, 2]).sin(), logits)
    for i, own in enumerate(logits):
        wanted = hessian(lambda z: (z[0] * z[1].exp() * z[2]).sin(), own)
        torch.testing.assert_close(found[i], wanted)


def test_a_loss_that_is_linear_in_the_logits_has_a_hessian_of_zeros():
    assert torch.equal(
        in_logits(lambda z: z @ torch.ones(3), torch.randn(5, 3)), torch.zeros(5, 3, 3)
    )


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_a_root_times_its_transpose_is_the_hessian(dtype):
    p = torch.randn(7, 4, dtype=dtype).softmax(1)
    hessians = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    found = root(hessians)
    assert found.dtype == dtype
    torch.testing.assert_close(found @ found.mT, hessians)


def test_the_hessians_of_very_sure_answers_have_roots_although_rounding_bends_them():
    logits = torch.cat([torch.full((900, 1), 1.0), torch.linspace(-20, -12, 900)[:, None]], 1)
    logits = torch.cat([logits, torch.zeros(900, 1) - 17], 1)
    y = torch.zeros(900, dtype=torch.long)
    hessians = in_logits(lambda z: F.cross_entropy(z, y, reduction="none"), logits)
    assert torch.linalg.eigvalsh(hessians.double()).min() < 0
    found = root(hessians)
    torch.testing.assert_close(found @ found.mT, hessians, rtol=0, atol=1e-6)


def test_a_loss_that_bends_down_has_no_root():
    with pytest.raises(BadSetting, match=r"an eigenvalue is -0\.5, the largest 2") as caught:
        root(torch.diag_embed(torch.tensor([[2.0, 1.0, 0.0], [2.0, -0.5, 1.0]])))
    assert "full Hessian" in caught.value.hint


def test_gauss_newton_is_the_square_of_jacobian_rows_under_the_root(linear):
    rows = []
    for x, y in linear.batches:
        halves = root(
            in_logits(lambda z, y=y: F.cross_entropy(z, y, reduction="none"), linear.model(x))
        )
        slopes = jacobian(lambda v, x=x: linear.said(v, x), linear.place)
        rows.append(torch.einsum("ncd,nck->ndk", halves, slopes).flatten(0, 1))
    r, b = torch.cat(rows), torch.randn(76, dtype=torch.double)
    product = gauss_newton(linear.answers(), linear.parameters, linear.block)
    by_rows = woodbury(r, b, damping=0.1).x
    by_products = conjugate_gradients(product, b, damping=0.1, rounds=200, tolerance=1e-12).x
    torch.testing.assert_close(by_rows, by_products, rtol=1e-8, atol=1e-10)
