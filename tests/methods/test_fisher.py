"""What is special about Fisher forgetting: how large the noise is on which weight."""

import pytest
import torch

from expunge.methods.fisher import Fisher
from expunge.testing import toy
from expunge.unlearning import unlearn


def information(model, part, *, drawn):
    """The diagonal for the last layer's weight, by a loop over samples and, if drawn, classes."""
    total, weight = torch.zeros_like(model[2].weight), model[2].weight
    for x, y in part:
        told = model(x[None]).log_softmax(1)[0]
        for k in range(3) if drawn else [int(y)]:
            (slope,) = torch.autograd.grad(told[k], weight, retain_graph=True)
            total += slope**2 * (told[k].exp().detach() if drawn else 1)
    return total / len(part)


@pytest.mark.parametrize("labels", ["data", "model"])
def test_noise_is_as_large_as_a_loop_over_samples_says(labels):
    problem = toy()
    diagonal = information(problem.model, problem.split.retain, drawn=labels == "model")
    deviation = 1e-6**0.5 * diagonal**-0.25
    moves = []
    for seed in range(60):
        method = Fisher(sigma=1e-6, cap=1e9, labels=labels)
        after = unlearn(problem.model, problem.split, method, task=problem.task, seed=seed).after
        moves.append((after[2].weight - problem.model[2].weight).detach() / deviation)
    moves = torch.stack(moves)
    assert moves.square().mean() == pytest.approx(1, abs=0.1)
    assert moves.square().mean(0).min() > 0.4
    assert moves.square().mean(0).max() < 2.2


def test_one_draw_of_noise_scales_with_the_root_of_sigma():
    problem = toy()
    near, far = (
        unlearn(problem.model, problem.split, Fisher(sigma=s, cap=1e9), task=problem.task).after
        for s in (1e-8, 4e-8)
    )
    before = problem.model[2].weight.double()
    once, twice = (m[2].weight.double() - before for m in (near, far))
    torch.testing.assert_close(twice, 2 * once, atol=1e-6, rtol=1e-3)


def test_the_cap_is_a_share_of_the_weights_of_a_parameter():
    problem = toy()
    outcome = unlearn(problem.model, problem.split, Fisher(sigma=1e9, cap=0.3), task=problem.task)
    weight = problem.model[2].weight
    moved = (outcome.after[2].weight - weight).detach()
    assert float(moved.norm() / weight.detach().norm()) == pytest.approx(0.3, rel=0.4)
    assert "the noise of 51 of 51 weights was capped" in outcome.notes


def test_without_sigma_nothing_moves():
    problem = toy()
    after = unlearn(problem.model, problem.split, Fisher(sigma=0.0), task=problem.task).after
    assert torch.equal(after[2].weight, problem.model[2].weight)


def test_the_digits_forget_more_of_the_class_than_of_the_others(threes):
    _, after = threes.unlearned(Fisher())
    assert after.retain.accuracy - after.forget.accuracy > 0.1
    assert after.retain.accuracy > 0.85
