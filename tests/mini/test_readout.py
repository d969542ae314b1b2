"""A linear layer whose inputs are read once: the slopes and the curvature of the model's passes."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, MultiLabel, Regression
from expunge.algebra.curvature import explicit
from expunge.algebra.parameters import Block
from expunge.batching import Batches
from expunge.method import Case
from expunge.retracing.path import Ordered
from expunge.retracing.readout import Readout
from expunge.retracing.terrain import Asked, terrain
from expunge.splitting import Part
from expunge.stepping import Ground

N, D, C = 31, 5, 3
IDS = torch.tensor([2, 3, 7, 11, 13, 17, 19])

TASKS = {
    "classes": (Classification(), torch.arange(N) % C),
    "several": (MultiLabel(), (torch.arange(N * C).view(N, C) % 4 == 0).double()),
    "numbers": (Regression(), torch.linspace(-1, 2, N * C).view(N, C).double()),
}
HEADS = {
    "with a bias": (lambda: nn.Linear(D, C), ("weight", "bias")),
    "the bias first": (lambda: nn.Linear(D, C), ("bias", "weight")),
    "no bias": (lambda: nn.Linear(D, C, bias=False), ("weight",)),
    "frozen features": (
        lambda: nn.Sequential(nn.Linear(D, 4), nn.Tanh(), nn.Linear(4, C)),
        ("2.weight", "2.bias"),
    ),
}


class Twice(nn.Module):
    """A layer that is asked twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, D)

    def forward(self, x):
        return self.layer(self.layer(x))


class Scaled(nn.Linear):
    """A layer that says half of what a linear one would."""

    def forward(self, x):
        return super().forward(x) / 2


def hooked():
    layer = nn.Linear(D, C)
    layer.register_forward_hook(lambda _layer, _x, out: out / 2)
    return layer


class Cooled(nn.Module):
    """Logits changed in place."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x):
        z = self.layer(x)
        z /= 2
        return z


def ordered(model, names):
    sizes = {name: model.get_parameter(name).numel() for name in names}
    return Ordered(Block({n: torch.arange(k) for n, k in sizes.items()}), (sum(sizes.values()),))


def standing(build, names, task, labels):
    """A model, a case of whose retain set any sample can be taken, and the order of its numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator, dtype=torch.double)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build().double().eval()
    source = Batches(Part.whole(TensorDataset(x, labels)), N)
    return model, Case((), source, source, None, task), ordered(model, names)


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


@pytest.fixture(params=HEADS)
def place(request, task):
    return standing(*HEADS[request.param], *task)


def asked(model, case, order):
    ground = Ground(case.retain, IDS.split(4), case.task, "hessian", damping=0.0)
    return Asked(model, order, ground, len(IDS))


def test_its_gradient_is_that_of_passes(place):
    model, case, order = place
    found = Readout.of(model, case, order, IDS)
    torch.testing.assert_close(found.gradient(), asked(*place).gradient())


@pytest.mark.parametrize(("rough", "close"), [(False, 1e-12), (True, 1e-5)])
def test_its_curvature_is_that_of_passes(place, rough, close):
    model, case, order = place
    like = order.place(model)
    found, wanted = (
        explicit(each.bend(rough=rough, ridge=0.1)[0], len(like), like=like)
        for each in (Readout.of(model, case, order, IDS), asked(*place))
    )
    torch.testing.assert_close(found, wanted, rtol=close, atol=close)


def test_it_follows_the_model_to_another_place(place):
    model, case, order = place
    found = Readout.of(model, case, order, IDS)
    order.put(model, order.place(model) + 0.5)
    torch.testing.assert_close(found.gradient(), asked(*place).gradient())


def test_for_squares_its_guess_is_the_inverse_of_the_curvature():
    model, case, order = standing(*HEADS["with a bias"], *TASKS["numbers"])
    found, like = Readout.of(model, case, order, IDS), order.place(model)
    curved, guess = (
        explicit(each, len(like), like=like) for each in found.bend(rough=False, ridge=0.1)
    )
    unit = torch.eye(len(like)).double()
    torch.testing.assert_close(guess @ (curved + 0.1 * unit), unit, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: nn.Sequential(nn.Linear(D, C), nn.ReLU()), ("0.weight", "0.bias")),
        (lambda: nn.Sequential(nn.Linear(D, C), nn.Linear(C, C)), ("0.weight", "0.bias")),
        (lambda: nn.Sequential(nn.Linear(D, C), nn.Linear(C, C)), ("0.weight", "1.weight")),
        (lambda: nn.Linear(D, C), ("bias",)),
        (lambda: Scaled(D, C), ("weight", "bias")),
        (hooked, ("weight", "bias")),
        (lambda: Cooled(D, C), ("layer.weight", "layer.bias")),
        (Twice, ("layer.weight", "layer.bias")),
    ],
    ids=[
        "an activation after it",
        "not the last",
        "two layers",
        "half of it",
        "a subclass",
        "a hook",
        "changed in place",
        "asked twice",
    ],
)
def test_any_other_model_is_asked_by_passes(build, names):
    model, case, order = standing(build, names, *TASKS["classes"])
    assert isinstance(terrain(model, case, order, IDS), Asked)


@pytest.mark.parametrize("held", [torch.float, torch.double])
def test_rows_take_no_more_memory_than_they_need(held):
    model, case, order = standing(*HEADS["with a bias"], *TASKS["classes"])
    x, y = case.retain.take(torch.arange(N))
    source = Batches(Part.whole(TensorDataset(x.to(held).double(), y)), N)
    read = Readout.of(model, replace(case, retain=source), order, IDS)
    assert {page.rows.dtype for page in read.pages} == {held}


@pytest.fixture
def short_pages(monkeypatch):
    monkeypatch.setattr("expunge.retracing.readout._PASS", 2 * D)


@pytest.mark.usefixtures("short_pages")
def test_pages_turned_one_by_one_say_what_all_say_together(place):
    model, case, order = place
    found = Readout.of(model, case, order, IDS)
    assert len(found.pages) == 4
    torch.testing.assert_close(found.gradient(), asked(*place).gradient())
    v = torch.linspace(-1, 1, len(order.place(model))).double()
    torch.testing.assert_close(
        found.bend(rough=False, ridge=0.1)[0](v), asked(*place).bend(rough=False, ridge=0.1)[0](v)
    )


@torch.no_grad()
def loss_after(model, case, order, step):
    """The mean loss of the samples, with a little decay, after a step against the gradient."""
    was = order.place(model)
    order.put(model, was - step)
    losses = case.task.loss(model, case.retain.take(IDS))
    there, _ = order.place(model), order.put(model, was)
    return float(losses.mean() + 0.01 / 2 * there.square().sum())


def test_every_answer_goes_as_far_as_leaves_the_least_loss(place):
    model, case, order = place
    found = Readout.of(model, case, order, IDS)
    slope = found.gradient() + 0.01 * order.place(model)
    step = found.stride(slope, slope, 0.01)
    answers = torch.arange(C).repeat_interleave(len(slope) // C) if len(order.names) == 1 else None
    least = loss_after(model, case, order, step)
    assert least < loss_after(model, case, order, slope)
    for other in (0.97, 1.03):
        assert least < loss_after(model, case, order, other * step)
        for answer in range(C) if answers is not None else ():
            changed = torch.where(answers == answer, other * step, step)
            assert least < loss_after(model, case, order, changed)


def test_a_class_that_left_altogether_is_left_in_one_stride():
    labels = torch.arange(N) % C
    model, case, order = standing(*HEADS["with a bias"], Classification(), labels)
    with torch.no_grad():
        model.bias[2] += 3.0
    ids = (labels != 2).nonzero().flatten()
    found = Readout.of(model, case, order, ids)
    slope = found.gradient() + 1e-3 * order.place(model)
    bent, _ = found.bend(rough=False, ridge=1e-3)
    like = order.place(model)
    matrix = explicit(bent, len(like), like=like) + 1e-3 * torch.eye(len(like)).double()
    newton = torch.linalg.solve(matrix, slope)

    def slope_after(step):
        order.put(model, like - step)
        after = found.gradient() + 1e-3 * order.place(model)
        order.put(model, like)
        return after.norm()

    assert slope_after(found.stride(newton, slope, 1e-3)) < 0.5 * slope_after(newton)
