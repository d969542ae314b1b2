"""Digits: a regression at its one optimum, and a perceptron."""

import os
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge.errors import BadSetting, Diverged, MissingInput, ModelDoesNotFit
from expunge.problems import mnist as problem
from expunge.problems import optimum
from expunge.problems.archives import Archive
from expunge.problems.images import Images
from expunge.problems.mnist import Logistic, mnist
from expunge.problems.optimum import Landscape, Optimum, curvature, preconditioner, solved
from expunge.recipe import Recipe
from expunge.splitting import Part
from expunge.unlearning import seeded

N, D, C = 60, 7, 3


@pytest.fixture
def rows():
    """Rows that no hyperplane separates, with columns of very different size."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator) * torch.logspace(-1, 1.5, D)
    return TensorDataset(x + 1, torch.randint(0, C, (N,), generator=generator))


def fitted(rows, seed=0, dtype=torch.double, **settings):
    with seeded(seed):
        model = Logistic(D, C).to(dtype)
    return Optimum(**settings)(model, rows)


def gradient(model, rows, l2):
    """By automatic differentiation, all parameters at once."""
    x, y = rows.tensors
    loss = F.cross_entropy(model(x), y) + l2 / 2 * sum(p.square().sum() for p in model.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*model.parameters()])])


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("l2", [0.01, 1e-4, 3.0])
def test_at_the_optimum_the_gradient_of_weights_and_biases_vanishes(rows, l2):
    assert gradient(fitted(rows, l2=l2), rows, l2).norm() <= 1e-9


def test_in_single_precision_the_gradient_vanishes_but_for_rounding(rows):
    model = fitted(rows, dtype=torch.float32)
    assert model.head.weight.dtype == torch.float32
    assert gradient(model, rows, 0.01).norm() < 1e-5


def test_the_start_does_not_matter(rows):
    one, other = flat(fitted(rows, seed=1)), flat(fitted(rows, seed=2))
    assert (one - other).norm() < 2e-9 / 0.01


def test_the_optimum_is_of_the_samples_it_was_given(rows):
    some = Part(rows, torch.arange(0, N, 2))
    x, y = rows.tensors
    theirs = TensorDataset(x[::2], y[::2])
    assert gradient(fitted(some), theirs, 0.01).norm() <= 1e-9
    assert (flat(fitted(some)) - flat(fitted(rows))).norm() > 0.01


def test_what_stands_before_the_linear_layer_is_left_alone(rows):
    model = nn.Sequential(nn.BatchNorm1d(D), nn.Linear(D, C, bias=False)).double()
    wide = TensorDataset(rows.tensors[0].double(), rows.tensors[1])
    before = {name: value.clone() for name, value in model[0].state_dict().items()}
    trained = Optimum()(model.train(), wide)
    assert not trained.training
    assert all(torch.equal(before[name], value) for name, value in model[0].state_dict().items())
    loss = F.cross_entropy(model(wide.tensors[0]), wide.tensors[1])
    loss = loss + 0.005 * model[1].weight.square().sum()
    assert torch.autograd.grad(loss, model[1].weight)[0].norm() <= 1e-9


def test_a_model_of_more_linear_layers_has_no_optimum_to_be_found(rows):
    model = nn.Sequential(nn.Linear(D, 4), nn.Linear(4, C))
    with pytest.raises(ModelDoesNotFit, match="the model has 2"):
        Optimum()(model, rows)


def test_an_optimum_out_of_reach_is_an_error_and_no_model(rows, monkeypatch):
    monkeypatch.setattr(optimum, "_STEPS", 1)
    with pytest.raises(BadSetting, match=r"still .* long after 1 steps"):
        fitted(rows)


def test_without_a_penalty_there_is_no_optimum_to_be_found(rows):
    with pytest.raises(BadSetting, match="l2 is 0"):
        fitted(rows, l2=0.0)


def test_rows_that_are_not_finite_are_an_error(rows):
    rows.tensors[0][5, 2] = float("nan")
    with pytest.raises(Diverged, match="not finite"):
        fitted(rows)


@pytest.fixture
def land(rows):
    x, y = rows.tensors
    return Landscape(x.double() / 5, y, 0.1)


def test_the_curvature_is_that_of_the_loss(land):
    generator = torch.Generator().manual_seed(1)
    w, direction = torch.randn(2, C, D, generator=generator, dtype=torch.double)

    def loss(w):
        logits = land.rows @ w.T
        return F.cross_entropy(logits, land.labels) + land.l2 / 2 * w.square().sum()

    dense = torch.autograd.functional.hessian(loss, w).reshape(C * D, C * D)
    found = curvature(land.rows, land.look(w)[1], land.l2)(direction)
    torch.testing.assert_close(found.flatten(), dense @ direction.flatten())
    assert land.height(w) == pytest.approx(float(loss(w)))


def test_the_preconditioner_is_the_inverse_where_all_rows_have_the_same_chances(land):
    chances = torch.tensor([0.5, 0.2, 0.3], dtype=torch.double).expand(N, C)
    spectrum = torch.linalg.eigh(land.rows.T @ land.rows / N)
    flatten = preconditioner(spectrum, chances, land.l2)
    w = torch.randn(C, D, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    torch.testing.assert_close(flatten(curvature(land.rows, chances, land.l2)(w)), w)


def test_conjugate_gradients_solve_a_system_to_the_share_they_were_told():
    generator = torch.Generator().manual_seed(3)
    root = torch.randn(6, 6, generator=generator, dtype=torch.double)
    b = torch.randn(2, 3, generator=generator, dtype=torch.double)
    matrix = root @ root.T + torch.eye(6, dtype=torch.double)
    x = solved(lambda v: (matrix @ v.flatten()).view(2, 3), b, lambda r: r, 1e-10)
    torch.testing.assert_close(x.flatten(), torch.linalg.solve(matrix, b.flatten()))


def test_settings_of_the_optimum_tell_one_recipe_from_another():
    made = [Recipe(problem.logistic, Optimum(l2)).describe() for l2 in (0.01, 0.02, 0.01)]
    assert made[0] == made[2] != made[1]


@pytest.fixture
def few(monkeypatch):
    """Fifty pictures in place of the archive, of which forty train."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8, generator=generator)
    pictures = Images(x, torch.arange(50) % 10, (0.5,), (0.3,))
    monkeypatch.setattr(Archive, "arrays", lambda *_: {})
    monkeypatch.setattr(problem, "labelled", lambda *_: pictures)
    monkeypatch.setattr(problem, "_TRAIN", 40)


@pytest.mark.usefixtures("few")
def test_the_last_pictures_validate_and_a_count_takes_the_first():
    for count, train in ((None, 40), (11, 11), (45, 40)):
        found = mnist(count=count)
        assert (len(found.train), len(found.validation), len(found.test)) == (train, 10, 50)
        assert torch.equal(found.train.labels, torch.arange(train) % 10)
    assert torch.equal(found.validation.labels, torch.arange(40, 50) % 10)


@pytest.mark.usefixtures("few")
def test_the_regression_keeps_double_precision_and_the_perceptron_its_own_decay():
    original = mnist(count=15).trained()
    assert original(torch.zeros(2, 1, 28, 28)).dtype == torch.double
    assert mnist(network="mlp").recipe.fit.weight_decay == 5e-4
    assert mnist(network="mlp", l2=0.1).recipe.fit.weight_decay == 0.1
    assert mnist(l2=0.5).recipe.fit == Optimum(0.5)
    short = mnist(network="mlp", epochs=1).trained()
    assert short(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_missing_digits_say_where_they_are_published(tmp_path):
    with pytest.raises(MissingInput, match=r"yann\.lecun\.com"):
        mnist(data=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif("EXPUNGE_DATA" not in os.environ, reason="needs MNIST")
@pytest.mark.parametrize(("network", "least"), [("logistic", 0.89), ("mlp", 0.93)])
def test_real_digits_are_told_apart(network, least):
    found = mnist(network=network, count=6000)
    model = found.trained()
    x, y = found.test.prepare(*found.test.tensors)
    with torch.no_grad():
        assert (model(x).argmax(1) == y).float().mean() > least
    if network == "logistic":
        x, y = found.train.prepare(*found.train.tensors)
        assert gradient(model, TensorDataset(x, y), 0.01).norm() <= 1e-9
        again = replace(found.recipe, fit=Optimum(tolerance=1e-10)).train(Part.whole(found.train))
        assert (flat(again) - flat(model)).norm() <= 1.1e-7
