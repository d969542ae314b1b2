"""What is special about SSD: which weights it shrinks, and by how much."""

import pytest
import torch
from torch.nn import functional as F

from expunge.errors import BadSetting
from expunge.methods.ssd import Ssd
from expunge.testing import toy
from expunge.unlearning import unlearn


def looped(model, part, score, power):
    """The mean power of every sample's gradient in the last layer's weight, by a loop."""
    total = torch.zeros_like(model[2].weight).double()
    for x, y in part:
        (slope,) = torch.autograd.grad(score(model(x[None]), y[None]), model[2].weight)
        total += slope.double().abs() ** power
    return total / len(part)


SCORES = {
    "fisher": (F.cross_entropy, 2),
    "output": (lambda logits, _: logits.square().sum(), 1),
}


@pytest.mark.parametrize("importance", SCORES)
def test_what_is_shrunk_is_what_a_loop_over_samples_finds(importance):
    problem = toy()
    score, power = SCORES[importance]
    forget, retain = problem.split.forget, problem.split.retain
    own = looped(problem.model, forget, score, power)
    rest = looped(problem.model, retain, score, power)
    usual = (own * len(forget) + rest * len(retain)) / (len(forget) + len(retain))
    method = Ssd(importance=importance, alpha=1.3, strength=0.7)
    outcome = unlearn(problem.model, problem.split, method, task=problem.task)
    before, after = problem.model[2].weight, outcome.after[2].weight
    share = torch.where(own > 1.3 * usual, (0.7 * usual / own).clamp_max(1), 1.0)
    assert 0 < (share < 1).sum() < share.numel()
    torch.testing.assert_close(after, before * share.float())
    assert torch.equal(after[share == 1], before[share == 1])


@pytest.mark.parametrize("importance", SCORES)
def test_with_alpha_as_large_as_can_be_no_bit_changes(importance):
    problem = toy()
    outcome = unlearn(
        problem.model, problem.split, Ssd(importance=importance, alpha=1e300), task=problem.task
    )
    after = outcome.after.state_dict()
    assert all(torch.equal(after[k], v) for k, v in problem.model.state_dict().items())
    assert "0 of 51 weights were dampened" in outcome.notes


def test_a_class_is_gone_from_the_digits_and_the_others_are_known(threes):
    outcome, after = threes.unlearned(Ssd())
    assert after.forget.accuracy < 0.05
    assert after.retain.accuracy > 0.97
    assert "used where nothing was set: alpha = 4.7619" in outcome.notes


def test_the_published_alpha_is_used_where_few_leave():
    problem = toy()
    outcome = unlearn(problem.model, problem.split, Ssd(), task=problem.task)
    assert "used where nothing was set: alpha = 10" in outcome.notes


def test_an_alpha_of_nothing_is_refused():
    problem = toy()
    with pytest.raises(BadSetting, match="alpha is 0"):
        unlearn(problem.model, problem.split, Ssd(alpha=0.0), task=problem.task)
