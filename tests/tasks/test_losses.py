"""Every ready task has one loss a sample, and says in words what does not fit."""

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from expunge import Classification, MultiLabel, Regression, Task
from expunge.errors import BatchUnreadable

N, D, C = 7, 5, 3
DRAW = torch.Generator().manual_seed(0)
X = torch.randn(N, D, generator=DRAW)
MODEL = nn.Linear(D, C)
Z = MODEL(X).detach().double().numpy()
LABELS = torch.tensor([0, 1, 2, 2, 1, 0, 1])
MANY = (torch.rand(N, C, generator=DRAW) > 0.5).float()
NUMBERS = torch.randn(N, C, generator=DRAW)


class Fixed(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, _):
        return self.output


@pytest.mark.parametrize("task", [Classification(), MultiLabel(), Regression()])
def test_every_ready_task_is_a_task(task):
    assert isinstance(task, Task)


@pytest.mark.parametrize("kind", [torch.long, torch.int32, torch.uint8])
def test_classification_is_cross_entropy_of_every_sample(kind):
    expected = special.logsumexp(Z, axis=1) - Z[np.arange(N), LABELS]
    found = Classification().loss(MODEL, (X, LABELS.to(kind)))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.long, torch.bool])
def test_multilabel_is_binary_cross_entropy_meaned_over_labels(kind):
    y = MANY.numpy()
    expected = -(y * special.log_expit(Z) + (1 - y) * special.log_expit(-Z)).mean(1)
    found = MultiLabel().loss(MODEL, (X, MANY.to(kind)))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_regression_is_the_mean_square_of_every_sample(kind):
    expected = ((Z - NUMBERS.numpy()) ** 2).mean(1)
    found = Regression().loss(MODEL, (X, NUMBERS.to(kind)))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-4)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_a_column_and_a_row_of_numbers_are_compared_one_by_one(shape):
    said = torch.arange(float(N))[:, None]
    target = (torch.arange(float(N)) + 2).reshape(shape)
    assert Regression().loss(Fixed(said), (X, target)).tolist() == [4.0] * N


@pytest.mark.parametrize(
    ("task", "labels"), [(Classification(), LABELS), (MultiLabel(), MANY), (Regression(), NUMBERS)]
)
def test_a_batch_of_one_has_one_loss(task, labels):
    assert task.loss(MODEL, (X[:1], labels[:1])).shape == (1,)
    assert task.loss(MODEL, (X, labels)).requires_grad


@pytest.mark.parametrize(
    ("task", "output", "labels", "fact"),
    [
        (Classification(), Z, ("cat",) * N, "labels of a batch are a tuple, not a tensor"),
        (Classification(), Z, LABELS[:4], "answered 7 samples, the batch has 4 labels"),
        (Classification(), Z, LABELS + 1, "outside the model's 3 classes; the first is 3"),
        (Classification(), Z, -1 - LABELS, "7 labels lie outside"),
        (Classification(), Z, LABELS.where(LABELS > 0, -100), "the first is -100"),
        (Classification(), Z, LABELS.double(), "whole-numbered labels"),
        (Classification(), Z, MANY, "whole-numbered labels"),
        (Classification(), Z[:, 0], LABELS, "logits (n, c)"),
        (Classification(), Z[..., None], LABELS, "logits (n, c)"),
        (MultiLabel(), Z, LABELS, "one shape (n, k), not (7, 3) and (7,)"),
        (MultiLabel(), Z[:, 0], LABELS, "one shape (n, k)"),
        (Regression(), Z, NUMBERS[:4], "answered 7 samples"),
        (Regression(), Z, NUMBERS[:, 0], "one number a target, not (7, 3) for (7,)"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_a_hint(task, output, labels, fact):
    with pytest.raises(BatchUnreadable) as caught:
        task.loss(Fixed(torch.as_tensor(output)), (X, labels))
    assert fact in caught.value.fact
    assert caught.value.hint
