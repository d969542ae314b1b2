"""The runner owns safety: the original stays as it was, whatever a method does."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, Samples, split
from expunge.errors import (
    Diverged,
)
from expunge.method import Method
from expunge.unlearning import seeded, unlearn

TASK = Classification()


@dataclass(frozen=True)
class Acting(Method):
    """Does what it is told."""

    act: object = None

    def forget(self, model, case):
        returned = None if self.act is None else self.act(model, case)
        return model if returned is None else returned


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


def wreck(model, _case):
    """Everything a method could do to a model that is lent to it."""
    model.train()
    model(torch.randn(8, 4))
    for parameter in model.parameters():
        parameter.requires_grad_(requires_grad=False).add_(1)
    model[0].register_forward_hook(lambda *_: None)
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global one is what is at stake


def generators():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - see wreck
    return torch.get_rng_state().tolist(), kind, keys.tolist(), rest


def test_the_original_is_untouched_bit_for_bit():
    model = network()
    model[0].weight.requires_grad_(requires_grad=False)
    model[3].bias.grad = torch.ones(3)
    model.train()
    model[2].eval()
    before, modes = state(model), [m.training for m in model.modules()]
    outcome = unlearn(model, parts(), Acting(wreck), task=TASK)
    assert outcome.before is model
    assert same(before, state(model))
    assert [m.training for m in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert torch.equal(model[3].bias.grad, torch.ones(3))
    assert not model[0]._forward_hooks
    assert not any(a is b for a in model.parameters() for b in outcome.after.parameters())


def test_the_result_is_in_eval_mode_and_learns_where_the_original_did():
    model = network()
    model[0].weight.requires_grad_(requires_grad=False)
    after = unlearn(model, parts(), Acting(wreck), task=TASK).after
    assert not any(m.training for m in after.modules())
    assert [p.requires_grad for p in after.parameters()] == [False, *[True] * 5]


def test_a_method_gets_its_copy_in_eval_mode_even_from_a_training_model():
    seen = []
    unlearn(network().train(), parts(), Acting(lambda m, _: seen.append(m.training)), task=TASK)
    assert seen == [False]


@pytest.mark.parametrize("fault", [None, ValueError, KeyboardInterrupt, Diverged])
def test_generators_come_back_even_when_a_method_raises(fault):
    def act(model, case):
        wreck(model, case)
        if fault:
            raise fault("stopped")

    model = network()
    drawn, before = generators(), state(model)
    if fault is None:
        unlearn(model, parts(), Acting(act), task=TASK)
    else:
        with pytest.raises(fault, match="stopped"):
            unlearn(model, parts(), Acting(act), task=TASK)
    assert generators() == drawn
    assert same(before, state(model))


def test_python_s_own_generator_comes_back():
    start = random.getstate()
    with seeded(3):
        random.random()
    assert random.getstate() == start


def draw(model, case):
    legacy = np.random.randn(2)  # noqa: NPY002 - see wreck
    noise = torch.randn(3) + torch.tensor([random.gauss(0, 1), *legacy]).float()
    with torch.no_grad():
        model[3].bias.add_(noise)
    for batch in case.retain:
        model[0].weight.data.add_(batch[0][0])


@pytest.mark.parametrize("seed", [0, 7, -1, 2**40])
def test_the_same_seed_gives_the_same_weights_from_all_three_generators(seed):
    model, chosen = network(), parts()
    first = unlearn(model, chosen, Acting(draw), task=TASK, seed=seed)
    torch.randn(5)
    np.random.rand(3)  # noqa: NPY002 - see wreck
    again = unlearn(model, chosen, Acting(draw), task=TASK, seed=seed)
    other = unlearn(model, chosen, Acting(draw), task=TASK, seed=seed + 1)
    assert same(first.after.state_dict(), again.after.state_dict())
    assert not same(first.after.state_dict(), other.after.state_dict())


def test_gradients_are_on_for_the_method_even_where_the_caller_switched_them_off():
    seen = []
    with torch.no_grad():
        unlearn(
            network(), parts(), Acting(lambda *_: seen.append(torch.is_grad_enabled())), task=TASK
        )
    assert seen == [True]


class Tied(nn.Module):
    """Embeds and answers with one matrix."""

    def __init__(self):
        super().__init__()
        self.into = nn.Linear(4, 4, bias=False)
        self.out = nn.Linear(4, 4, bias=False)
        self.out.weight = self.into.weight

    def forward(self, x):
        return self.out(self.into(x).relu())


def test_tied_weights_stay_tied():
    model = Tied()
    after = unlearn(model, parts(), Acting(), task=TASK).after
    assert after.out.weight is after.into.weight
    assert after.out.weight is not model.out.weight


class Bare(nn.Module):
    """Has a buffer and nothing to learn."""

    def __init__(self, *, buffer):
        super().__init__()
        if buffer:
            self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        return x[:, :3]


@pytest.mark.parametrize("buffer", [True, False])
def test_a_model_without_parameters_passes_through(buffer):
    outcome = unlearn(Bare(buffer=buffer), parts(), Acting(), task=TASK)
    assert outcome.after is not outcome.before


class Noted(Bare):
    """Keeps something beside its tensors, as quantised layers do."""

    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        del state


def test_a_model_that_keeps_more_than_tensors_in_its_state_passes_through():
    assert isinstance(unlearn(Noted(buffer=True), parts(), Acting(), task=TASK).after, Noted)


def test_what_a_method_says_is_in_the_outcome():
    heard = []

    def act(_model, case):
        case.report.total = 2
        case.report.note("cold today")
        case.report.trace("distance", 1, 0.5)
        case.report.step(torch.tensor(3.0))
        case.report.step(torch.tensor(2.0))

    outcome = unlearn(
        network(), parts(), Acting(act), task=TASK, progress=lambda *told: heard.append(told)
    )
    assert outcome.notes == ("cold today",)
    assert outcome.traces == {"distance": [(1, 0.5)], "loss": [(1, 3.0), (2, 2.0)]}
    assert heard == [("unlearn", 1, 2), ("unlearn", 2, 2)]
    assert outcome.seconds > 0


def test_a_method_never_sees_the_test_set():
    seen = {}
    chosen = parts(Classes((1,)), validation=data(6))

    def act(_model, case):
        seen.update(forget=case.forget.part, retain=case.retain.part, aside=case.validation.part)
        assert not hasattr(case, "test")

    unlearn(network(), chosen, Acting(act), task=TASK)
    assert seen["forget"].indices.tolist() == list(range(1, 30, 3))
    assert len(seen["retain"]) == 20
    assert seen["aside"].source is not chosen.test.source
