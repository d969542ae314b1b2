"""Batches and models of any shape are read, changed and joined, or refused in words."""

from collections import OrderedDict, UserDict, namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from expunge import Classification
from expunge.errors import BatchUnreadable, MissingInput, UnknownName

N, D, C = 7, 5, 3
X = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % C
Pair = namedtuple("Pair", ["x", "y"])  # noqa: PYI024 - as users' code has it

by_name = Classification(inputs=lambda b: b["x"], labels=lambda b: b["y"])
by_keywords = Classification(
    inputs=lambda b: {"x": b["x"], "scale": b["scale"]}, labels=lambda b: b["y"]
)
by_place = Classification(inputs=lambda b: (b[0], b[2]))

SHAPES = {
    "tuple": (Classification(), lambda x, y: (x, y)),
    "list": (Classification(), lambda x, y: [x, y]),
    "namedtuple": (Classification(), Pair),
    "dict": (by_name, lambda x, y: {"x": x, "y": y}),
    "dict with words": (
        by_name,
        lambda x, y: {"x": x, "y": y, "name": [str(i) for i in y.tolist()]},
    ),
    "like a dict": (by_name, lambda x, y: UserDict(x=x, y=y)),
    "keywords": (by_keywords, lambda x, y: {"x": x, "y": y, "scale": x[:, :1]}),
    "places": (by_place, lambda x, y: (x, y, x[:, :1])),
    "nested": (
        Classification(inputs=lambda b: b[0][0], labels=lambda b: b[1][0]),
        lambda x, y: ((x, x[:, :1]), (y, y)),
    ),
}
shapes = pytest.mark.parametrize(("task", "make"), SHAPES.values(), ids=SHAPES)


class Scaled(nn.Module):
    """A model of one input or two."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(D, C)

    def forward(self, x, scale=None):
        return self.head(x if scale is None else x * scale)


MODEL = Scaled()


def leaf(task, batch):
    """The main input, wherever the task keeps it."""
    x = task.inputs(batch)
    if isinstance(x, dict):
        return x["x"]
    return x[0] if isinstance(x, tuple) else x


def doubled(x):
    if isinstance(x, dict):
        return {key: 2 * value for key, value in x.items()}
    return tuple(2 * value for value in x) if isinstance(x, tuple) else 2 * x


# Batches


@shapes
def test_every_batch_is_read(task, make):
    batch = make(X, Y)
    assert leaf(task, batch) is X
    assert task.labels(batch) is Y
    assert task.answer(MODEL, batch).logits.shape == (N, C)
    assert task.loss(MODEL, batch).shape == (N,)


@shapes
def test_other_inputs_take_the_place_of_the_old_ones_and_nothing_else(task, make):
    batch = make(X, Y)
    changed = task.with_inputs(batch, doubled(task.inputs(batch)))
    assert leaf(task, changed).equal(2 * X)
    assert task.labels(changed) is Y
    assert leaf(task, batch) is X
    if type(batch) in (tuple, list, Pair, dict):
        assert type(changed) is type(batch)


@shapes
def test_two_batches_are_joined_sample_by_sample(task, make):
    both = task.join(make(X[:3], Y[:3]), make(X[3:], Y[3:]))
    assert leaf(task, both).equal(X)
    assert task.labels(both).equal(Y)
    torch.testing.assert_close(task.loss(MODEL, both), task.loss(MODEL, make(X, Y)))


def test_words_of_two_batches_are_joined_too():
    task, make = SHAPES["dict with words"]
    assert task.join(make(X[:3], Y[:3]), make(X[3:], Y[3:]))["name"] == [str(i) for i in Y.tolist()]


def test_a_setting_in_the_batch_stays_one_setting():
    a, b = ({"x": x, "y": Y, "epoch": 3} for x in (X, X))
    assert by_name.join(a, b)["epoch"] == 3


def test_samples_of_different_shapes_are_not_joined():
    with pytest.raises(BatchUnreadable, match=r"shapes \(5,\) and \(4,\)") as caught:
        Classification().join((X, Y), (X[:, :4], Y))
    assert "pad" in caught.value.hint


def test_computed_inputs_cannot_be_put_back_and_say_so():
    task = Classification(inputs=lambda b: b[0] / 255)
    with pytest.raises(BatchUnreadable, match="computes its inputs"):
        task.with_inputs((X, Y), X)


@pytest.mark.parametrize(
    ("batch", "shape"),
    [({"pixels": X, "y": Y}, "a mapping of ['pixels', 'y']"), (X, "Tensor"), ((), "tuple")],
)
def test_a_batch_of_another_shape_asks_where_its_inputs_are(batch, shape):
    with pytest.raises(BatchUnreadable, match="where its inputs are") as caught:
        Classification().inputs(batch)
    assert shape in caught.value.fact
    assert "inputs=" in caught.value.hint


def test_a_batch_without_labels_asks_where_they_are():
    with pytest.raises(BatchUnreadable, match="where its labels are") as caught:
        Classification().labels((X,))
    assert "labels=" in caught.value.hint


# Models


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: z,
        lambda z: {"logits": z, "loss": None},
        lambda z: OrderedDict(logits=z),
        lambda z: SimpleNamespace(logits=z),
    ],
    ids=["tensor", "dict", "ordered", "object"],
)
def test_logits_are_found_in_what_a_model_returns(wrap):
    class Wrapped(Scaled):
        def forward(self, x):
            return wrap(self.head(x))

    model = Wrapped()
    answer = Classification().answer(model, (X, Y))
    assert answer.logits.equal(model.head(X))
    assert answer.embedding.equal(X)


@pytest.mark.parametrize("output", ["text", {"scores": X}, None, torch.tensor(1.0), X.argmax(1)])
def test_a_model_that_returns_no_logits_is_told_how_to(output):
    class Odd(nn.Module):
        def forward(self, _):
            return output

    with pytest.raises(BatchUnreadable, match="has no logits") as caught:
        Classification().loss(Odd(), (X, Y))
    assert "wrap the model" in caught.value.hint


def test_a_functional_forward_with_batch_statistics_works():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.weight = nn.BatchNorm1d(D), nn.Parameter(torch.randn(C, D))

        def forward(self, x):
            return nn.functional.linear(self.norm(x).relu(), self.weight)

    model = Functional()
    for _ in (model.train(), model.eval()):
        assert Classification().loss(model, (X, Y)).shape == (N,)
    answer = Classification(layer="norm").answer(model, (X, Y))
    assert answer.embedding.shape == (N, D)


# Attributes


def test_an_attribute_is_read_by_its_name():
    task = Classification(attributes={"glasses": lambda b: b[2]})
    assert task.attribute((X, Y, Y > 0), "glasses").equal(Y > 0)


def test_an_unknown_attribute_suggests_the_nearest():
    task = Classification(attributes={"glasses": lambda b: b[2]})
    with pytest.raises(UnknownName) as caught:
        task.attribute((X, Y), "glases")
    assert caught.value.hint == "did you mean 'glasses'?"


def test_a_task_without_attributes_says_how_to_give_one():
    with pytest.raises(MissingInput, match="'glasses'") as caught:
        Classification().attribute((X, Y), "glasses")
    assert "attributes={'glasses'" in caught.value.hint
