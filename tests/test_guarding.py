"""What may not be lost: the use of unseen data, without what was asked to be lost."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, MultiLabel, Regression, Request, Samples, split
from expunge.batching import Batches
from expunge.guarding import Guard
from expunge.method import Case


class Told(nn.Module):
    """A model whose answers are its inputs."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return x * self.scale


def answers(labels, right):
    return nn.functional.one_hot(torch.where(right, labels, (labels + 1) % 3), 3).float()


def case(*targets, unseen, train=None, task=None):
    labels = torch.arange(30) % 3
    train = train or TensorDataset(answers(labels, torch.arange(30) < 24), labels)
    parts = split(train, *map(Request, targets), test=train, validation=unseen)
    aside = None if unseen is None else Batches(parts.validation)
    forget, retain = Batches(parts.forget), Batches(parts.retain)
    return Case(parts.targets, forget, retain, aside, task or Classification())


def unseen(count, right):
    labels = torch.arange(count) % 3
    return TensorDataset(answers(labels, torch.arange(count) < right), labels)


def test_accuracy_is_measured_on_unseen_data_and_lost_in_points():
    guard = Guard.of(Told(), case(Samples((1,)), unseen=unseen(50, 40)))
    assert guard.start == pytest.approx(0.8)
    assert guard.lost(0.7) == pytest.approx(0.1)
    assert guard.lost(0.9) < 0
    assert guard.case.report.notes == []


@pytest.mark.parametrize("aside", [None, unseen(0, 0)])
def test_without_unseen_data_retained_samples_are_measured_and_the_notes_say_so(aside):
    found = case(Samples((25,)), unseen=aside)
    guard = Guard.of(Told(), found)
    assert guard.start == pytest.approx(24 / 29)
    assert "measured on retained samples" in found.report.notes[0]
    guard.told(1, 0.5)
    guard.told_of_retained(Told(), 1)
    assert found.report.traces == {"retain accuracy": [(1, 0.5)]}


def test_to_lose_a_class_that_leaves_is_no_loss():
    """Of the ninety, only those of class one are known: half as many of what stays."""
    labels = torch.arange(90) % 3
    right = (labels == 1) | (torch.arange(90) < 30)
    theirs = TensorDataset(answers(labels, right), labels)
    assert Guard.of(Told(), case(Samples((1,)), unseen=theirs)).start == pytest.approx(50 / 90)
    assert Guard.of(Told(), case(Classes((1,)), unseen=theirs)).start == pytest.approx(20 / 60)
    both = case(Classes((1,)), Classes((2,)), unseen=theirs)
    assert Guard.of(Told(), both).start == pytest.approx(10 / 30)


def test_unseen_data_of_a_class_that_leaves_alone_say_nothing():
    labels = torch.full((20,), 1)
    theirs = TensorDataset(answers(labels, labels == 1), labels)
    found = case(Classes((1,)), unseen=theirs)
    assert Guard.of(Told(), found).start == pytest.approx(16 / 20)
    assert len(found.report.notes) == 1


def test_a_regression_loses_the_share_by_which_its_loss_grows():
    train = TensorDataset(torch.randn(9, 2), torch.zeros(9, 2))
    theirs = TensorDataset(torch.full((7, 2), 2.0), torch.zeros(7, 2))
    found = case(Samples((1,)), unseen=theirs, train=train, task=Regression())
    model = Told()
    guard = Guard.of(model, found)
    nn.init.constant_(model.scale, 1.5)  # squared errors of 9 where there were 4
    assert guard.lost(guard.use(model)) == pytest.approx(5 / 4)
    guard.told(3, guard.use(model))
    guard.told_of_retained(model, 3)
    assert found.report.traces["validation loss"] == [(3, pytest.approx(9.0))]
    assert found.report.traces["retain loss"][0][1] > 0


def test_of_several_labels_the_share_that_is_right_counts():
    train = TensorDataset(torch.randn(9, 4), torch.zeros(9, 4))
    theirs = TensorDataset(torch.tensor([[1.0, -1, 1, -1]] * 5), torch.ones(5, 4))
    found = case(Samples((1,)), unseen=theirs, train=train, task=MultiLabel())
    assert Guard.of(Told(), found).start == pytest.approx(0.5)


def test_a_look_asks_five_hundred_samples_at_most():
    asked = []

    class Counting(Told):
        def forward(self, x):
            asked.append(len(x))
            return super().forward(x)

    Guard.of(Counting(), case(Samples((1,)), unseen=unseen(2300, 1500)))
    assert sum(asked) == 500
