"""What is special about closed-form heads: to subtract samples equals fitting without them."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from torch.utils.data import TensorDataset

from expunge import Classes, Request, Samples, split
from expunge.methods.closed_form import ClosedForm
from expunge.testing import check_method, toy
from expunge.unlearning import unlearn

KINDS = ("ridge", "lda", "centroid", "bayes", "neighbours")
GONE = (0, 3, 5, 60, 119)


def prepared(kind, **settings):
    problem = toy()
    method = ClosedForm(kind=kind, **settings)
    source = problem.split.retain.source
    return problem, method, method.prepare(problem.model, source, task=problem.task)


def parts_of(problem, *ids):
    return split(problem.split.retain.source, Request(Samples(ids)), test=problem.split.test)


def head(model):
    return {name: value for name, value in model[2].state_dict().items() if name != "present"}


@pytest.mark.parametrize("kind", KINDS)
def test_to_take_samples_out_equals_a_fit_without_them(kind):
    problem, method, model = prepared(kind)
    parts = parts_of(problem, *GONE)
    after = unlearn(model, parts, method, task=problem.task).after
    again = method.prepare(toy().model, parts.retain, task=problem.task)
    for name, value in head(again).items():
        torch.testing.assert_close(head(after)[name], value, atol=1e-10, rtol=1e-10)
    assert torch.equal(after[2].present, again[2].present)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_of_an_unlearned_model_is_that_of_a_fit_without_them_and_lists_nobody(kind):
    problem, method, model = prepared(kind)
    parts = parts_of(problem, *GONE)
    after = unlearn(model, parts, method, task=problem.task).after
    fresh = unlearn(toy().model, parts, method, task=problem.task).after
    shapes = [{n: v.shape for n, v in each.state_dict().items()} for each in (after, fresh)]
    assert shapes[0] == shapes[1]
    assert not [n for n, v in after.state_dict().items() if "present" in n or v.shape[:1] == (120,)]
    assert "2.present" in model.state_dict()  # of the original, from which nobody left


@pytest.mark.parametrize("kind", KINDS)
def test_one_after_another_equals_all_at_once(kind):
    problem, method, model = prepared(kind)
    at_once = unlearn(model, parts_of(problem, *GONE), method, task=problem.task).after
    for sample in GONE:
        model = unlearn(model, parts_of(problem, sample), method, task=problem.task).after
    for name, value in head(at_once).items():
        torch.testing.assert_close(head(model)[name], value, atol=1e-10, rtol=1e-10)


def features(model, data):
    x, y = data.tensors
    with torch.no_grad():
        return model[1](model[0](x)).double().numpy(), y.numpy()


OTHERS = {
    "lda": lambda: LinearDiscriminantAnalysis(solver="lsqr"),
    "centroid": NearestCentroid,
    "bayes": lambda: GaussianNB(var_smoothing=0.0),
    "neighbours": lambda: KNeighborsClassifier(3),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_it_says_is_what_scikit_learn_says(kind):
    problem = toy()
    x, y = problem.split.retain.source.tensors
    own = ClosedForm(kind=kind, shrink=1e-12, near=3)
    rows, labels = features(problem.model, TensorDataset(x, y))
    alive = rows.std(0) > 0
    other = OTHERS[kind]().fit(rows[:, alive], labels)
    probe, _ = features(problem.model, problem.split.test.source)
    model = own.prepare(problem.model, problem.split.retain.source, task=problem.task)
    with torch.no_grad():
        mine = model(problem.split.test.source.tensors[0]).argmax(1).numpy()
    theirs = other.predict(probe[:, alive])
    assert np.mean(mine == theirs) == 1.0


def test_ridge_is_that_of_scikit_learn():
    problem, _, model = prepared("ridge", shrink=0.1)
    x, y = problem.split.retain.source.tensors
    rows, labels = features(model, TensorDataset(x, y))
    alpha = 0.1 * len(rows) * rows.var(0).mean()
    other = Ridge(alpha=alpha).fit(rows, np.eye(3)[labels])
    torch.testing.assert_close(model[2].linear.T, torch.from_numpy(other.coef_))
    torch.testing.assert_close(model[2].height, torch.from_numpy(other.intercept_))


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_left_is_never_said(kind):
    problem, method, model = prepared(kind)
    parts = split(problem.split.retain.source, Request(Classes((1,))), test=problem.split.test)
    after = unlearn(model, parts, method, task=problem.task).after
    with torch.no_grad():
        said = after(problem.split.test.source.tensors[0])
    assert said.isfinite().all()
    assert 1 not in said.argmax(1).tolist()


@pytest.mark.parametrize("kind", ["bayes", "neighbours"])
def test_a_prepared_model_keeps_the_promises_of_methods(kind, monkeypatch):
    problem, method, model = prepared(kind)
    stand_in = type(problem)(model, problem.split, problem.task)
    monkeypatch.setattr("expunge.testing.toy", lambda *_, **__: stand_in)
    check_method(method)


def test_nothing_of_a_forgotten_neighbour_is_kept():
    problem, method, model = prepared("neighbours")
    after = unlearn(model, parts_of(problem, 3, 5), method, task=problem.task).after
    gone = model[2].rows[[3, 5]]
    assert len(after[2].rows) == len(after[2].labels) == len(model[2].rows) - 2
    assert torch.cdist(gone, after[2].rows).min() > 0
