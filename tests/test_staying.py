"""A buffer in which the forgotten could have stayed is noted, and no other is."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, Samples, split
from expunge.methods.closed_form import ClosedForm
from expunge.methods.leace import Leace
from expunge.methods.neggrad import NegGrad
from expunge.testing import toy
from expunge.unlearning import unlearn

N, D, C = 23, 5, 3
GONE = (2, 7, 11)
TRAIN = TensorDataset(
    torch.randn(N, D, generator=torch.Generator().manual_seed(0)), torch.arange(N) % C
)


class Keeping(nn.Module):
    """A linear model with something beside it."""

    def __init__(self, kept):
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(D, C), nn.BatchNorm1d(C))
        self.register_buffer("kept", kept)

    def forward(self, x):
        return self.layer(x)


def notes(kept, *, data=TRAIN, task=None):
    chosen = split(data, Request(Samples(GONE)), test=TensorDataset(*data[:4]))
    outcome = unlearn(Keeping(kept), chosen, NegGrad(steps=2), task=task or Classification())
    return [note for note in outcome.notes if "the buffer" in note]


X = TRAIN.tensors[0]


@pytest.mark.parametrize(
    "kept",
    [X, X.double(), X.flip(0), X[5:12], X[:, :, None]],
    ids=["all", "double", "turned", "some", "shaped"],
)
def test_a_memory_of_inputs_is_noted_in_any_order_and_of_any_size(kept):
    (note,) = notes(kept.clone())
    assert note == "the buffer 'kept' still holds inputs of the forget set as they are"


def test_a_row_for_every_sample_that_did_not_change_is_noted():
    (note,) = notes(torch.randn(N, 4))
    assert "a row for each of the 23 training samples" in note


@pytest.mark.parametrize(
    "kept",
    [
        X[[i for i in range(N) if i not in GONE]],
        torch.randn(N),
        torch.randn(1, N, 4),
        torch.ones(N, N, dtype=torch.bool),
        torch.randn(N, 4).index_fill(0, torch.tensor(GONE), 0.0),
        torch.zeros(7, D),
        torch.zeros(0, D),
        torch.tensor(0.5),
    ],
    ids=["others", "one number each", "positions", "mask", "taken out", "empty", "none", "number"],
)
def test_no_alarm_is_raised_for_what_holds_none_of_them(kept):
    assert notes(kept) == []


def test_a_blank_sample_is_not_found_in_a_blank_buffer():
    blank = TensorDataset(X.index_fill(0, torch.tensor(GONE), 0.0), TRAIN.tensors[1])
    assert notes(torch.zeros(7, D), data=blank) == []


def test_batchnorm_as_wide_as_the_training_set_raises_no_alarm():
    chosen = split(TRAIN, Request(Samples(GONE)), test=TRAIN)
    model = nn.Sequential(nn.Linear(D, N), nn.BatchNorm1d(N), nn.Linear(N, C))
    outcome = unlearn(model, chosen, NegGrad(steps=2), task=Classification())
    assert not any("the buffer" in note for note in outcome.notes)


def test_a_memory_from_which_rows_were_taken_is_not_noted():
    problem, method = toy(), ClosedForm(kind="neighbours")
    model = method.prepare(problem.model, problem.split.retain.source, task=problem.task)
    once = unlearn(model, problem.split, method, task=problem.task)
    twice = unlearn(once.after, problem.split, method, task=problem.task)
    assert not any("the buffer" in note for note in (*once.notes, *twice.notes))


def test_where_nobody_leaves_nothing_is_looked_for():
    problem = toy(Attribute("hat"))
    problem.model.register_buffer("kept", torch.randn(120, 4))
    outcome = unlearn(problem.model, problem.split, Leace(), task=problem.task)
    assert not any("the buffer" in note for note in outcome.notes)


def test_inputs_that_are_no_tensor_are_not_looked_for():
    task = Classification(inputs=lambda batch: (batch[0],))
    assert notes(X.clone()[:7], task=task) == []
