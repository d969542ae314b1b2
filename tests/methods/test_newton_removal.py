"""What is special about Newton removal: what is left of a gradient never passes its bound."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, Samples, split
from expunge.algebra.removal import Rows, allowed, fitted, without
from expunge.errors import BadSetting, ModelDoesNotFit
from expunge.methods.newton_removal import NewtonRemoval
from expunge.testing import check_method, toy
from expunge.unlearning import unlearn


def drawn(seed, loss):
    """A small problem, another one for every seed."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(43, 5, generator=generator).double() * (1 + seed % 7)
    y = (x @ torch.randn(5, 3, generator=generator).double()).sign()
    return Rows(x, y, loss, 0.01 * (1 + seed % 5)), torch.randn(5, 3, generator=generator).double()


def some(rows, chosen):
    return Rows(rows.x[chosen], rows.y[chosen], rows.loss, rows.l2)


@pytest.mark.parametrize("loss", ["logistic", "ridge"])
def test_on_a_hundred_draws_the_gradient_that_is_left_is_within_its_bound(loss):
    loose = []
    for seed in range(100):
        rows, b = drawn(seed, loss)
        w, left = fitted(rows, b)
        gone = torch.arange(43) < 1 + seed % 11
        moved, bound = without(some(rows, ~gone), some(rows, gone), w)
        true = (some(rows, ~gone).gradient(moved) + b).norm(dim=0)
        assert (true <= bound + left).all()
        loose.append((true / bound).max())
    if loss == "logistic":  # a bound that says nothing would pass, too
        assert max(loose) > 0.05


def test_many_removals_in_a_row_stay_within_the_sum_of_their_bounds():
    rows, b = drawn(3, "logistic")
    w, spent = fitted(rows, b)
    here = torch.ones(43, dtype=torch.bool)
    for who in range(9):
        stays = here.clone()
        stays[who] = False
        w, bound = without(some(rows, stays), some(rows, here & ~stays), w)
        here, spent = stays, spent + bound
        assert ((some(rows, here).gradient(w) + b).norm(dim=0) <= spent).all()


def test_the_optimum_is_where_the_gradient_of_autograd_vanishes():
    rows, b = drawn(1, "logistic")
    w = fitted(rows, b)[0].requires_grad_()
    z = rows.x @ w
    losses = nn.functional.binary_cross_entropy_with_logits(z, (rows.y + 1) / 2, reduction="sum")
    objective = losses + 43 * rows.l2 / 2 * w.square().sum() + (b * w).sum()
    (slope,) = torch.autograd.grad(objective, w)
    assert slope.norm() < 1e-7


def test_ridge_is_removed_exactly():
    rows, b = drawn(2, "ridge")
    gone = torch.arange(43) < 6
    moved, _ = without(some(rows, ~gone), some(rows, gone), fitted(rows, b)[0])
    torch.testing.assert_close(moved, fitted(some(rows, ~gone), b)[0])


def test_what_is_hidden_follows_from_the_deviation():
    # sqrt(2 ln(1.5e5)) is 4.882 by hand
    assert allowed(2.0, epsilon=0.5, delta=1e-5) == pytest.approx(1 / 4.8821, rel=1e-4)


@pytest.fixture
def prepared():
    problem = toy()
    method = NewtonRemoval(sigma=10.0, l2=0.05)
    torch.manual_seed(0)
    return (
        problem,
        method,
        method.prepare(problem.model, problem.split.retain.source, task=problem.task),
    )


def without_ids(problem, *ids):
    source = problem.split.retain.source
    return split(source, Request(Samples(ids)), test=problem.split.test)


def test_a_prepared_head_is_nearer_to_its_refit_than_before(prepared):
    problem, method, model = prepared
    parts = without_ids(problem, 3, 4, 9, 11)
    outcome = unlearn(model, parts, method, task=problem.task)
    assert any(note.startswith("certified: ") for note in outcome.notes)
    torch.manual_seed(0)  # the same perturbation
    refit = method.prepare(toy().model, parts.retain, task=problem.task)
    before, after, best = (m[2].weight for m in (model, outcome.after, refit))
    assert (after - best).norm() < 0.05 * (before - best).norm()


def test_requests_one_after_another_add_up(prepared):
    problem, method, model = prepared
    first = unlearn(model, without_ids(problem, 3, 4), method, task=problem.task).after
    second = unlearn(first, without_ids(problem, 3, 4, 7), method, task=problem.task).after
    assert 0 < first[2].spent.norm() < second[2].spent.norm()
    assert (~second[2].present).nonzero().flatten().tolist() == [3, 4, 7]
    again = unlearn(second, without_ids(problem, 3), method, task=problem.task)
    assert "nothing to do: none of the forget set is in the head" in again.notes


@pytest.mark.parametrize("gone", [(3, 4), tuple(range(40))])
def test_the_state_of_an_unlearned_head_tells_neither_who_left_nor_what_is_spent(prepared, gone):
    problem, method, model = prepared
    parts = without_ids(problem, *gone)
    after = unlearn(model, parts, method, task=problem.task).after
    fresh = unlearn(toy().model, parts, method, task=problem.task).after
    assert after.state_dict().keys() == fresh.state_dict().keys()
    assert not {"2.present", "2.spent"} & {*after.state_dict()}
    assert torch.equal(after[2].terms, fresh[2].terms)


def test_a_spent_budget_is_refused_or_refitted_with_a_note(prepared):
    problem, _, model = prepared
    parts = without_ids(problem, *range(40))
    tight = {"epsilon": 1e-9, "l2": 0.05}
    with pytest.raises(BadSetting, match="retrain required"):
        unlearn(model, parts, NewtonRemoval(spent="refuse", **tight), task=problem.task)
    outcome = unlearn(model, parts, NewtonRemoval(**tight), task=problem.task)
    assert any(note.startswith("retrain required") for note in outcome.notes)
    assert int(outcome.after[2].present.sum()) == 80
    assert outcome.after[2].spent.norm() < 1e-6


def test_a_prepared_model_keeps_the_promises_of_methods(prepared, monkeypatch):
    problem, method, model = prepared
    monkeypatch.setattr(
        "expunge.testing.toy", lambda *_, **__: type(problem)(model, problem.split, problem.task)
    )
    check_method(method)


def test_a_class_leaves_as_a_whole(prepared):
    problem, method, model = prepared
    parts = split(problem.split.retain.source, Request(Classes((1,))), test=problem.split.test)
    after = unlearn(model, parts, method, task=problem.task).after
    y = parts.retain.source.tensors[1]
    assert torch.equal(after[2].present, y != 1)


def test_another_training_set_is_refused(prepared):
    problem, method, model = prepared
    x, y = problem.split.retain.source.tensors
    less = TensorDataset(x[:50], y[:50])
    parts = split(less, Request(Samples((1,))), test=problem.split.test)
    with pytest.raises(ModelDoesNotFit, match="120 samples, this one has 50"):
        unlearn(model, parts, method, task=Classification())


def test_a_certified_head_that_was_frozen_since_is_refused():
    problem, method = toy(), NewtonRemoval()
    model = method.prepare(problem.model, problem.split.retain.source, task=problem.task)
    model[2].requires_grad_(requires_grad=False)
    with pytest.raises(ModelDoesNotFit, match="is frozen"):
        unlearn(model, problem.split, method, task=problem.task)
