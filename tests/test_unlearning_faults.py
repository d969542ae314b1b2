"""Faults of users, models and methods: a fact, a hint, and the original as it was."""

import threading
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Regression, Request, Samples, split
from expunge.errors import (
    BadSetting,
    BrokenPromise,
    Diverged,
    MissingInput,
    ModelDoesNotFit,
    TargetMismatch,
    UnknownName,
)
from expunge.method import Method
from expunge.methods.finetune import Finetune
from expunge.methods.neggrad import NegGrad
from expunge.methods.random_labels import RandomLabels
from expunge.unlearning import seeded, unlearn

TASK = Classification()


@dataclass(frozen=True)
class Acting(Method):
    """Does what it is told."""

    act: object = None

    def forget(self, model, case):
        returned = None if self.act is None else self.act(model, case)
        return model if returned is None else returned


@dataclass(frozen=True)
class Reshaping(Acting):
    """The same, and says that it reshapes."""

    reshapes: ClassVar[bool] = True


def data(n=30):
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(n, 4, generator=generator), torch.arange(n) % 3)


def parts(target=None, *, validation=None):
    request = Request(Samples((2, 3, 5)) if target is None else target, id="r1")
    return split(data(), request, test=data(11), validation=validation)


def network():
    with seeded(1):
        return nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_method_that_cannot_remove_this_kind_of_thing_is_refused_before_it_runs():
    ran = []
    with pytest.raises(TargetMismatch, match="Acting removes Samples or Classes") as why:
        unlearn(network(), parts(Attribute("hat")), Acting(lambda *_: ran.append(1)), task=TASK)
    assert "request r1 targets Attribute" in why.value.fact
    assert not ran


def test_one_unsuitable_request_among_several_is_enough():
    mixed = split(data(), Request(Samples((1,))), Request(Attribute("hat")), test=data(5))
    with pytest.raises(TargetMismatch, match="targets Attribute"):
        unlearn(network(), mixed, Acting(), task=TASK)


def test_a_method_that_cannot_serve_the_task_is_refused():
    @dataclass(frozen=True)
    class Choosy(Acting):
        tasks: ClassVar = ("classification",)

    with pytest.raises(TargetMismatch, match="serves classification, but the task is regression"):
        unlearn(network(), parts(), Choosy(), task=Regression())


@dataclass(frozen=True)
class OfAttributes(Acting):
    """Handles attributes."""

    handles: ClassVar = (Attribute,)


@pytest.mark.parametrize(
    ("attributes", "fault"), [({}, MissingInput), ({"hut": lambda b: b[1]}, UnknownName)]
)
def test_an_attribute_that_the_task_cannot_read_is_refused_before_the_method_runs(
    attributes, fault
):
    ran = []
    with pytest.raises(fault, match="hat"):
        unlearn(
            network(),
            parts(Attribute("hat")),
            OfAttributes(lambda *_: ran.append(1)),
            task=Classification(attributes=attributes),
        )
    assert not ran


def test_an_attribute_that_can_be_read_reaches_the_method():
    task, seen = Classification(attributes={"hat": lambda b: b[1] > 1}), []
    method = OfAttributes(lambda _, case: seen.append((case.targets, len(case.forget))))
    unlearn(network(), parts(Attribute("hat")), method, task=task)
    assert seen == [((Attribute("hat"),), 0)]


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["3.weight", "1.running_var"])
def test_a_broken_original_is_refused_by_name(name, value):
    model = network()
    model.state_dict()[name].view(-1)[0] = value
    with pytest.raises(ModelDoesNotFit, match=f"original model is not finite: {name}"):
        unlearn(model, parts(), Acting(), task=TASK)


def test_a_loss_that_is_not_finite_stops_at_its_step_and_keeps_the_original():
    def act(_model, case):
        for value in (1.0, 0.5, torch.nan, 0.2):
            case.report.step(torch.tensor(value))

    model = network()
    before = state(model)
    with pytest.raises(Diverged, match="nan at step 3") as why:
        unlearn(model, parts(), Acting(act), task=TASK)
    assert "original model is untouched" in why.value.fact
    assert same(before, state(model))


@pytest.mark.parametrize("name", ["0.bias", "1.running_mean"])
def test_weights_that_are_not_finite_at_the_end_are_refused_with_the_step(name):
    def act(model, case):
        case.report.step(torch.tensor(1.0))
        case.report.step(torch.tensor(1.0))
        model.state_dict()[name][0] = torch.inf

    with pytest.raises(Diverged, match=f"after step 2: {name}"):
        unlearn(network(), parts(), Acting(act), task=TASK)


def renamed(model, _case):
    return nn.Sequential(*model, nn.Identity(), nn.Linear(3, 3))


def reshaped(model, _case):
    model[3] = nn.Linear(7, 5)


@pytest.mark.parametrize(("act", "name"), [(renamed, "5.bias"), (reshaped, "3.bias")])
def test_a_method_that_reshapes_must_say_so(act, name):
    with pytest.raises(BrokenPromise, match=f"Acting changed the parameter '{name}'"):
        unlearn(network(), parts(), Acting(act), task=TASK)
    after = unlearn(network(), parts(), Reshaping(act), task=TASK).after
    assert name in after.state_dict()


def test_a_method_that_returns_no_model_broke_its_promise():
    with pytest.raises(BrokenPromise, match="Acting returned str"):
        unlearn(network(), parts(), Acting(lambda *_: "done"), task=TASK)


class Tied(nn.Module):
    """Embeds and answers with one matrix."""

    def __init__(self):
        super().__init__()
        self.into = nn.Linear(4, 4, bias=False)
        self.out = nn.Linear(4, 4, bias=False)
        self.out.weight = self.into.weight

    def forward(self, x):
        return self.out(self.into(x).relu())


def test_a_method_that_unties_weights_broke_its_promise():
    def untie(model, _case):
        model.out.weight = nn.Parameter(model.out.weight.detach().clone())

    with pytest.raises(BrokenPromise, match=r"out\.weight"):
        unlearn(Tied(), parts(), Acting(untie), task=TASK)


@pytest.mark.parametrize("what", ["lock", "history"])
def test_a_model_that_cannot_be_copied_says_what_is_in_the_way(what):
    model = network()
    model.extra = threading.Lock() if what == "lock" else model[3].weight * 2
    with pytest.raises(ModelDoesNotFit, match="cannot be copied") as why:
        unlearn(model, parts(), Acting(), task=TASK)
    assert "remove tensors with a gradient history, files and locks" in why.value.hint


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_compiled_model_whose_copies_cannot_learn_is_refused_before_any_work():
    with pytest.raises(ModelDoesNotFit, match="cannot learn: its parameter") as why:
        unlearn(torch.jit.script(network()), parts(), Finetune(epochs=1), task=TASK)
    assert "pass the eager model" in why.value.hint


@pytest.mark.parametrize(
    ("method", "fact"),
    [
        (NegGrad(lr=-1.0), "NegGrad got lr = -1.0"),
        (NegGrad(steps=-3), "NegGrad got steps = -3"),
        (NegGrad(momentum=float("nan")), "NegGrad got momentum = nan"),
        (NegGrad(share=7.0), "share is 7.0"),
        (RandomLabels(share=1.5), "share is 1.5"),
    ],
)
def test_settings_out_of_range_are_refused(method, fact):
    with pytest.raises(BadSetting, match=fact):
        unlearn(network(), parts(), method, task=TASK)


@pytest.mark.parametrize("method", [NegGrad(), RandomLabels(), Finetune()])
def test_a_model_that_cannot_learn_is_refused(method):
    frozen = network().requires_grad_(requires_grad=False)
    with pytest.raises(ModelDoesNotFit, match="no parameter that may learn"):
        unlearn(frozen, parts(), method, task=TASK)


@pytest.mark.parametrize("fault", [KeyError("mine"), torch.OutOfMemoryError("mine")])
def test_what_a_method_raises_about_sound_data_is_its_own(fault):
    def fail(*_):
        raise fault

    with pytest.raises(type(fault), match="mine"):
        unlearn(network(), parts(), Acting(fail), task=TASK)


def test_no_memory_is_no_fault_of_the_data():
    """Nobody is asked about data then: what follows would be told as theirs."""

    def fail(*_):
        raise torch.OutOfMemoryError("full")

    spoilt = split(
        TensorDataset(torch.randn(30, 4).double(), torch.arange(30) % 3),
        Request(Samples((2,))),
        test=data(11),
    )
    with pytest.raises(torch.OutOfMemoryError):
        unlearn(network(), spoilt, Acting(fail), task=TASK)
