"""The head that is fitted again: the best there is for the features that are left."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import MultiLabel, Regression
from expunge.algebra.erasure import Map
from expunge.erasing.refitting import mean_loss, refitted

N, D, H, C, K = 230, 6, 12, 2, 3  # samples, inputs, features, classes and groups of the toy


@pytest.mark.parametrize("penalty", [1e-3, 0.3])
def test_a_head_fitted_again_is_logistic_regression(toy, penalty):
    x, _, z = toy.drawn()
    x = x.double() * torch.tensor([9.0, 1, 0.1, 1, 1, 1])
    found = refitted(x, z, "classification", outputs=K, penalty=penalty)
    scale = (x - x.mean(0)).square().mean()
    strength = 1 / (penalty * scale.item() * N)
    want = LogisticRegression(C=strength, tol=1e-12, max_iter=10000).fit(x.numpy(), z.numpy())
    answers = torch.from_numpy(want.predict_proba(x.numpy()))
    torch.testing.assert_close(found(x).softmax(1), answers, atol=1e-4, rtol=0)


def test_a_head_of_numbers_is_ridge_regression(toy):
    x, y, _ = toy.drawn()
    target, penalty = torch.stack([y.double(), x[:, 0].double() ** 2], 1), 0.05
    found = refitted(x, target, "regression", outputs=2, penalty=penalty)
    rows = x.double() - x.double().mean(0)
    bend = 2 / 2 * rows.T @ rows / N + penalty * rows.square().mean() * torch.eye(D)
    want = torch.linalg.solve(bend, 2 / 2 * rows.T @ (target - target.mean(0)) / N)
    torch.testing.assert_close(found.matrix, want.T, atol=1e-4, rtol=0)
    torch.testing.assert_close(found(x.double()).mean(0), target.mean(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_no_other_head_nearby_has_a_smaller_loss(toy, kind):
    x, y, z = toy.drawn()
    labels = y if kind == "classification" else torch.stack([y, z > 0], 1).double()
    found = refitted(x, labels, kind, outputs=C, penalty=0.0)
    least = mean_loss(found(x.double()), labels, kind)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        push = 1e-2 * torch.randn(C, D, generator=generator).double()
        other = Map(found.matrix + push, found.bias)
        assert mean_loss(other(x.double()), labels, kind) > least


def test_directions_that_were_erased_get_no_weight(toy):
    x, y, _ = toy.drawn()
    x[:, 3] = 0
    found = refitted(x, y, "classification", outputs=C, penalty=1e-3)
    assert found.matrix[:, 3].abs().max() < 1e-9


@pytest.mark.parametrize(("kind", "columns"), [(MultiLabel, 2), (Regression, 1)])
def test_tasks_without_classes_are_served_and_told_that_nothing_was_conditioned_on(
    toy, kind, columns
):
    x, y, z = toy.drawn()
    labels = torch.stack([y, x[:, 4] > 0], 1).float()[:, :columns]
    data, task = TensorDataset(x, labels, z), toy.reading(kind)
    model = toy.built(lambda: nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, columns)))
    outcome = toy.erased(model, task, data)
    assert f"a {task.kind} task has no classes" in outcome.notes[0]
    assert toy.told(toy.features(outcome.after, task, data.tensors), F.one_hot(z, K)) < 1e-6
    with torch.no_grad():
        before, after = (task.loss(m, data.tensors).mean() for m in (outcome.before, outcome.after))
    assert after < before
