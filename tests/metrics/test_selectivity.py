"""What goes beside the attribute that was to go."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Outcome, Regression, Request, Samples, split
from expunge.algebra.families import linear
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.selectivity import Selectivity
from expunge.observing import snapshot

TEST, D = 400, 4
NAMES = {"gone": 2, "stays": 3}
OTHER = "other attribute (bits), stays"


def data(n, seed, alike=0.0):
    """Two signs among the inputs; the second is the first for a share of the samples."""
    draw = torch.Generator().manual_seed(seed)
    gone, free = torch.randint(2, (2, n), generator=draw)
    stays = torch.where(torch.rand(n, generator=draw) < alike, gone, free)
    x = torch.randn(n, D, generator=draw)
    x[:, 1], x[:, 2] = 2.0 * gone - 1, 2.0 * stays - 1
    return TensorDataset(x, (x[:, 0] > 0).long(), gone, stays)


def net(without=()):
    """Features are the inputs without some columns; answers rest on the first."""
    model = nn.Sequential(nn.Linear(D, D), nn.Linear(D, 2))
    with torch.no_grad():
        keep = torch.eye(D)
        keep[list(without)] = 0
        model[0].weight.copy_(keep)
        model[1].weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1, 0, 0, 0]]))
        model[0].bias.zero_()
        model[1].bias.zero_()
    return model


def trial(after, *, names=NAMES, target=None, alike=0.0, of=Classification, before=None):
    task = of(attributes={name: lambda b, k=k: b[k] for name, k in names.items()})
    request = Request(target or Attribute("gone"))
    parts = split(data(9, 0), request, test=data(TEST, 1, alike))
    before = before or net()
    look = [snapshot(model, parts, task) for model in (before, after)]
    return Trial(Outcome.of(before, after, parts, task=task), *look)


def measured(found, **settings):
    metric = Selectivity(**{"families": ("linear",), **settings})
    return {m.name: m for m in metric.measure(found)}


def test_another_attribute_that_was_left_alone_stays():
    found = measured(trial(net(without=[1])))
    assert list(found) == ["accuracy lost on the test set", OTHER]
    assert found[OTHER].value > 0.9
    assert found[OTHER].value == pytest.approx(found[OTHER].original.value, abs=0.02)
    assert found["accuracy lost on the test set"].value == 0


def test_another_attribute_that_went_too_is_missed():
    found = measured(trial(net(without=[1, 2])))[OTHER]
    assert found.value < 0.05
    assert found.original.value > 0.9
    assert "against the original" in found.note


def test_how_much_of_the_other_has_to_go_is_what_the_removed_one_tells():
    told = [
        float(measured(trial(net(), alike=alike))[OTHER].note.split("tells ")[1].split(" ")[0])
        for alike in (0.0, 1.0)
    ]
    assert told == pytest.approx([0, 1], abs=0.01)


def test_attributes_that_have_nothing_to_do_with_each_other_tell_nothing_of_each_other():
    draw = torch.Generator().manual_seed(4)
    y, gone, stays = (torch.randint(k, (500,), generator=draw) for k in (10, 4, 5))
    test = TensorDataset(F.one_hot(y, 10).float(), y, gone, stays)
    task = Classification(attributes={name: lambda b, k=k: b[k] for name, k in NAMES.items()})
    parts, model = split(test, Request(Attribute("gone")), test=test), nn.Linear(10, 10)
    whole = nn.Sequential(nn.Identity(), model)
    seen = snapshot(whole, parts, task)
    found = measured(Trial(Outcome.of(whole, whole, parts, task=task), seen, seen))[OTHER]
    assert abs(float(found.note.split("tells ")[1].split(" ")[0])) < 0.03


def test_the_task_is_lost_where_its_own_column_went():
    found = measured(trial(net(without=[0])))["accuracy lost on the test set"]
    wrong = 1 - (data(TEST, 1).tensors[1] == 0).double().mean().item()  # ties go to the first class
    assert found.value == pytest.approx(wrong)
    assert found.n == TEST


def test_of_a_regression_the_growth_of_the_loss_is_told(monkeypatch):
    monkeypatch.setattr("expunge.probing.FAMILIES", {"linear": linear})
    found = measured(trial(net(), of=_Numbers))
    assert found["loss gained on the test set"].value == 0


class _Numbers(Regression):
    """The number to be told is the two signs of the class."""

    def __init__(self, attributes):
        super().__init__(
            labels=lambda b: torch.stack([b[1], b[1]], 1).float(), attributes=attributes
        )


def test_a_task_that_can_read_no_other_attribute_says_so():
    found = measured(trial(net(), names={"gone": 2}))["other attributes (bits)"]
    assert "can read no others" in found.note
    subjects = measured(trial(net()), subjects="stays")  # tells whose, and is no property
    assert "can read no others" in subjects["other attributes (bits)"].note


def test_without_an_attribute_that_leaves_nothing_is_measured():
    with pytest.raises(MissingInput, match="no request names an attribute"):
        measured(trial(net(), target=Samples((1,))))


def broken(_):
    raise KeyError("there is no such column")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (broken, "not measured: KeyError: 'there is no such column'"),
        (lambda batch: batch[3][:2], "has the shape"),
        (lambda batch: batch[3] * 0, "is the same for all"),
        (lambda batch: torch.arange(len(batch[3])), "groups among"),
    ],
    ids=["a fault", "another shape", "one group", "a name"],
)
def test_an_attribute_that_nobody_asked_about_ends_nothing(other, why):
    found = trial(net(without=[1]))
    attributes = {**found.outcome.task.attributes, "odd": other}
    task = Classification(attributes=attributes)
    told = measured(replace(found, outcome=replace(found.outcome, task=task)))
    assert why in told["other attribute (bits), odd"].note
    assert told[OTHER].value > 0.9
