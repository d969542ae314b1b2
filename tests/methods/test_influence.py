"""What is special about influence: on ridge regression, its one step is retraining."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Regression, Request, Samples, split
from expunge.algebra import curvature as curvatures
from expunge.errors import BadSetting
from expunge.methods.influence import Influence
from expunge.testing import toy
from expunge.unlearning import unlearn

L2, GONE = 0.07, (2, 3, 5, 7, 11, 13)


def optimum(x, y):
    """Where the mean squared error, and half of L2 times the squared weights, is least."""
    rows = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    bend = 2 * rows.T @ rows / len(rows) + L2 * torch.eye(rows.shape[1]).double()
    return torch.linalg.solve(bend, 2 * rows.T @ y / len(rows))


@pytest.fixture
def ridge():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(61, 9, generator=generator, dtype=torch.double)
    y = torch.randn(61, generator=generator, dtype=torch.double)
    model = nn.Linear(9, 1).double()
    best = optimum(x, y)
    model.load_state_dict({"weight": best[None, :-1], "bias": best[-1:]})
    data = TensorDataset(x, y)
    return model, split(data, Request(Samples(GONE)), test=data), (x, y)


def without(ridge):
    """The optimum of those who stay."""
    _, _, (x, y) = ridge
    stays = torch.tensor([i for i in range(len(x)) if i not in GONE])
    return optimum(x[stays], y[stays])


def weights(model):
    return torch.cat([model.weight.flatten(), model.bias]).detach()


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
def test_one_step_on_ridge_regression_equals_leaving_them_out(ridge, curvature):
    model, parts, _ = ridge
    method = Influence(curvature=curvature, l2=L2, subsample=0, trust=0.0)
    after = unlearn(model, parts, method, task=Regression()).after
    torch.testing.assert_close(weights(after), without(ridge), atol=1e-12, rtol=1e-10)


def test_two_layers_have_a_step_each():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    x, y = torch.randn(41, 8).double(), torch.arange(41) % 3
    data = TensorDataset(x, y)
    parts = split(data, Request(Samples((1, 4))), test=data)
    task = toy().task
    method = Influence(curvature="hessian", blocks="layers", damping=1.0, trust=0.0, subsample=0)
    after = unlearn(model, parts, method, task=task).after
    stays = parts.retain.indices

    def loss(weight, bias):
        lent = {"2.weight": weight, "2.bias": bias}
        told = torch.func.functional_call(model, lent, (x[stays],))
        return nn.functional.cross_entropy(told, y[stays])

    own = (model[2].weight.detach(), model[2].bias.detach())
    bend = torch.autograd.functional.hessian(loss, own)
    matrix = torch.cat(
        [
            torch.cat([b.flatten(0, -own[j].ndim - 1).flatten(1) for j, b in enumerate(row)], 1)
            for row in bend
        ]
    )
    gone = task.loss(model, (x[[1, 4]], y[[1, 4]])).sum() / len(stays)
    pull = torch.cat([g.flatten() for g in torch.autograd.grad(gone, [*model[2].parameters()])])
    step = torch.linalg.solve(matrix + torch.eye(len(matrix)).double(), pull)
    moved = torch.cat([(a - b).flatten() for a, b in zip(after[2].parameters(), own, strict=True)])
    torch.testing.assert_close(moved.detach(), step)


def test_a_step_is_cut_where_it_is_not_trusted(ridge):
    model, parts, _ = ridge
    outcome = unlearn(model, parts, Influence(l2=L2, trust=1e-3), task=Regression())
    length = float((weights(outcome.after) - weights(model)).norm())
    assert length == pytest.approx(1e-3 * float(weights(model).norm()))
    assert any("a step was cut" in note for note in outcome.notes)


def test_a_matrix_is_never_written_out_where_rounds_cost_less(ridge, monkeypatch):
    def explicit(_product, size, **_like):
        raise AssertionError(f"{size} products in place of 3 rounds")

    monkeypatch.setattr(curvatures, "explicit", explicit)
    model, parts, _ = ridge
    unlearn(model, parts, Influence(l2=L2, rounds=3), task=Regression())
    with pytest.raises(AssertionError, match="in place of"):
        unlearn(model, parts, Influence(l2=L2), task=Regression())


def test_curvature_without_anything_added_is_refused(ridge):
    model, parts, _ = ridge
    with pytest.raises(BadSetting, match="may be singular"):
        unlearn(model, parts, Influence(damping=0.0), task=Regression())


def test_the_digits_forget_the_class_and_keep_the_others(threes):
    _, after = threes.unlearned(Influence())
    assert after.forget.accuracy < 0.3
    assert after.retain.accuracy > 0.98
