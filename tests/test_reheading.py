"""Who is in a model is known to whoever unlearns it again, and to no file of its weights."""

import pytest
import torch

from expunge import Request, Samples, split
from expunge.cli.project import with_weights
from expunge.cli.runs import MEMBERS
from expunge.errors import ModelDoesNotFit
from expunge.methods.closed_form import ClosedForm
from expunge.methods.newton_removal import NewtonRemoval
from expunge.reheading import withheld
from expunge.storing import digest_tensors, save_tensors
from expunge.testing import toy
from expunge.unlearning import unlearn

METHODS = (ClosedForm(), ClosedForm(kind="neighbours"), NewtonRemoval())


def prepared(method):
    problem = toy()
    torch.manual_seed(0)
    source = problem.split.retain.source
    return method.prepare(problem.model, source, task=problem.task)


def without(model, method, *ids):
    problem = toy()
    parts = split(problem.split.retain.source, Request(Samples(ids)), test=problem.split.test)
    return unlearn(model, parts, method, task=problem.task)


@pytest.fixture(params=METHODS, ids=lambda method: f"{method.name}")
def delivered(request, tmp_path):
    """A method, a model from which somebody left, and the file of its weights."""
    outcome = without(prepared(request.param), request.param, 3, 4)
    outcome.save(tmp_path / "model.safetensors")
    return request.param, outcome.after, tmp_path / "model.safetensors"


def test_a_file_that_says_nothing_of_members_answers_and_refuses_the_next_removal(delivered):
    method, after, path = delivered
    again = with_weights(prepared(method), path)
    x = toy().split.test.source.tensors[0]
    assert torch.equal(again(x), after(x))
    with pytest.raises(ModelDoesNotFit, match="does not say of whom it was made"):
        without(again, method, 7)


def test_with_its_members_beside_it_a_file_is_unlearned_like_the_model_itself(delivered):
    method, after, path = delivered
    known = {"weights": digest_tensors(after.state_dict())}
    save_tensors(path.with_name(MEMBERS), withheld(after), known)
    again = without(with_weights(prepared(method), path), method, 7).after
    other = without(after, method, 7).after
    assert digest_tensors(again.state_dict()) == digest_tensors(other.state_dict())
    assert torch.equal(again[2].present, other[2].present)


def test_members_of_another_model_are_not_taken_for_its_own(delivered):
    method, after, path = delivered
    save_tensors(path.with_name(MEMBERS), withheld(after), {"weights": "another"})
    with pytest.raises(ModelDoesNotFit, match="does not say of whom it was made"):
        without(with_weights(prepared(method), path), method, 7)


def test_members_of_a_model_from_which_nobody_left_are_in_its_file(tmp_path):
    method = NewtonRemoval()
    save_tensors(tmp_path / "model.safetensors", prepared(method).state_dict())
    again = with_weights(prepared(method), tmp_path / "model.safetensors")
    assert int(without(again, method, 7).after[2].present.sum()) == 119


@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_head_is_refused_and_stays_what_it_was(method):
    problem = toy()
    problem.model[2].requires_grad_(requires_grad=False)
    with pytest.raises(ModelDoesNotFit, match="is frozen"):
        unlearn(problem.model, problem.split, method, task=problem.task)
    with pytest.raises(ModelDoesNotFit, match="is frozen"):
        method.prepare(problem.model, problem.split.retain, task=problem.task)
    assert isinstance(problem.model[2], torch.nn.Linear)
