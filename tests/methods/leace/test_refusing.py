"""What LEACE refuses: attributes, labels, models and settings from which nothing could come."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Regression, Request, Samples, split
from expunge.errors import (
    BadSetting,
    BatchUnreadable,
    MissingInput,
    ModelDoesNotFit,
    RequestDoesNotFit,
    TargetMismatch,
)
from expunge.methods.leace import Leace
from expunge.methods.mean_projection import MeanProjection
from expunge.unlearning import seeded, unlearn

N, D, H, K = 310, 7, 13, 3  # samples, inputs, features and groups of the toy
NOTHING = {"condition_on": "nothing"}


@pytest.mark.parametrize(
    ("answers", "fact"),
    [
        (torch.ones(N, dtype=torch.long), "'hat' is 1 for every retained sample"),
        (torch.full((N,), 0.5), "'hat' is 0.5 for every retained sample"),
        (torch.full((N,), -1), "no retained sample answers"),
        (torch.full((N,), torch.nan), "no retained sample answers"),
        (torch.arange(N).double().log(), "'hat' is infinite"),
    ],
    ids=["one group", "one number", "nobody", "no number", "infinite"],
)
def test_attributes_that_cannot_be_taken_out_are_refused(toy, answers, fact):
    with pytest.raises(RequestDoesNotFit, match=fact) as why:
        toy.outcome(answers)
    assert why.value.hint


def test_to_remove_the_label_by_another_name_is_to_remove_the_task(toy):
    y = toy.drawn()[1]
    for same in (y, 1 - y, 5 + 2 * y, y.double(), torch.where(torch.arange(N) % 2 == 0, -1, y)):
        with pytest.raises(RequestDoesNotFit, match="removing it removes the task"):
            toy.outcome(same, **NOTHING)
    assert toy.outcome(toy.drawn()[2], **NOTHING).notes


@pytest.mark.parametrize("method", [Leace, MeanProjection])
def test_an_attribute_that_the_label_tells_without_fail_is_refused(toy, method):
    x, y, z = toy.drawn()
    y = 2 * y + (z == 1)  # labels tell more than the attribute
    model = nn.Sequential(nn.Linear(D, H), nn.Linear(H, 4)).double()
    for told in (y // 2, y.double(), torch.where(torch.arange(N) % 2 == 0, -1, y), 0.1 * y.float()):
        data = TensorDataset(x, y, told)
        parts = split(data, Request(Attribute("hat")), test=data)
        with pytest.raises(RequestDoesNotFit, match="without fail: removing it removes the task"):
            unlearn(model, parts, method(), task=toy.task())
    one = torch.where(torch.arange(N) == (y == 0).int().argmax(), 7, y)  # but for one sample
    data = TensorDataset(x, y, one)
    parts = split(data, Request(Attribute("hat")), test=data)
    assert unlearn(model, parts, method(), task=toy.task()).notes


def test_a_number_that_is_the_target_of_a_regression_is_refused_in_any_unit(toy):
    x, _, _ = toy.drawn()
    data = TensorDataset(x, x[:, :1], 3 - 2 * x[:, 0])
    parts = split(data, Request(Attribute("hat")), test=data)
    with seeded(0):
        model = nn.Sequential(nn.Linear(D, H), nn.Linear(H, 1)).double()
    reading = Regression(attributes={"hat": lambda batch: batch[2]})
    with pytest.raises(RequestDoesNotFit, match="removing it removes the task"):
        unlearn(model, parts, Leace(), task=reading)


def test_attributes_that_would_take_all_features_are_refused(toy):
    with pytest.raises(ModelDoesNotFit, match="leave nothing of the features right before"):
        toy.outcome(model=toy.network(width=4))
    assert toy.outcome(model=toy.network(width=5)).notes[0].endswith("and 1 are left")


@pytest.mark.parametrize("width", [1, K])
def test_answers_are_one_a_sample_whatever_their_shape(toy, width):
    class Reading(Classification):
        def attribute(self, batch, name, /):
            return {"hat": batch[2]}[name]

    x, y, z = toy.drawn()
    data = TensorDataset(x, y, z[:, None].expand(N, width))
    parts = split(data, Request(Attribute("hat")), test=data)
    if width == 1:
        torch.testing.assert_close(
            toy.features(unlearn(toy.network(), parts, Leace(), task=Reading()).after),
            toy.features(toy.outcome().after),
        )
        return
    with pytest.raises(BatchUnreadable, match="not one answer a sample"):
        unlearn(toy.network(), parts, Leace(), task=Reading())


def test_labels_that_name_no_class_are_refused(toy):
    with pytest.raises(BatchUnreadable, match="the least is -1"):
        toy.outcome(labels=toy.drawn()[1] - 1)


def test_an_attribute_that_the_task_cannot_read_is_refused(toy):
    x, y, z = toy.drawn()
    data = TensorDataset(x, y, z)
    parts = split(data, Request(Attribute("hat")), test=data)
    with pytest.raises(MissingInput, match="cannot read the attribute 'hat'"):
        unlearn(toy.network(), parts, Leace(), task=Classification())


def test_samples_are_not_what_it_removes(toy):
    data = TensorDataset(*toy.drawn())
    parts = split(data, Request(Samples((1,))), test=data)
    with pytest.raises(TargetMismatch, match="Leace removes Attribute"):
        unlearn(toy.network(), parts, Leace(), task=toy.task())


def test_a_penalty_below_zero_is_refused(toy):
    with pytest.raises(BadSetting, match="l2"):
        toy.outcome(l2=-1.0)
