"""The recursion against training again: ridge and logistic regression in double precision."""

from dataclasses import replace

import pytest
import torch

from expunge.algebra.contraction import (
    Motion,
    Pace,
    along_path,
    at_original,
    from_gradients,
    midpoint,
    propagate,
    remembered,
    uniform,
    without_curvature,
)
from expunge.algebra.curvature import conjugate_gradients
from expunge.algebra.lbfgs import Memory

EXACT, TANGENT = along_path(midpoint), along_path(at_original)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.8},
        {"momentum": 0.8, "nesterov": 1.0},
        {"momentum": 0.8, "dampening": 0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [0, 13])
def test_on_ridge_the_recursion_is_replay(ridge, settings, first):
    run = ridge.run(share=0.3, steps=40, batch=17, lr=0.1, **settings)
    path = run.path()
    wanted = run.again(path[first], first=first)
    assert (wanted - path[-1].place).norm() > 0.05
    still = Motion(ridge.nought(), None if first == 0 else ridge.nought())
    for rule in (EXACT, TANGENT):
        assert run.error(rule, 40 - first, path, wanted, still) < 1e-12


def test_every_parameter_may_have_a_pace_of_its_own(ridge):
    slow = torch.tensor([0.1, 0.1, 0.02, 0.02]).double()
    run = ridge.run(share=0.2, steps=30, batch=19)
    mixed = Pace(slow, momentum=slow * 5, decay=slow / 2)
    run = replace(run, paces=[mixed] * 30)
    path, w = run.path(), ridge.nought()
    v = ridge.nought()
    for ids in run.batches:
        kept = run.stays(ids)
        v = slow * 5 * v + ridge.slope(kept, w) + slow / 2 * w
        w = w - slow * v
    assert run.error(EXACT, 30, path, w) < 1e-12


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.7}, {"momentum": 0.7, "nesterov": 1.0}])
def test_a_batch_that_is_forgotten_as_a_whole_is_left_out(ridge, settings):
    run = ridge.run(share=0.2, steps=30, batch=11, lr=0.1, **settings)
    batches = [run.gone[:11] if step in (0, 4, 21) else b for step, b in enumerate(run.batches)]
    run = replace(run, batches=batches)
    path = run.path()
    assert run.error(EXACT, 30, path, run.again(path[0])) < 1e-12
    factors = [apart.factor for apart in propagate(run.beats(path), EXACT, path[0])]
    assert [step for step, factor in enumerate(factors) if factor is None] == [0, 4, 21]


def test_with_its_tail_a_window_on_converged_ridge_is_exact(ridge):
    """The tail: what is left of the past is the step that the retained curvature asks for."""
    run, path, wanted = ridge.converged(steps=700)
    kept, every = run.kept, ridge.everybody
    for k in (0, 1, 20):
        w = path[700 - k].place
        tail = conjugate_gradients(
            lambda v, w=w: ridge.bend(kept, w) @ v,
            ridge.slope(every, w) - ridge.slope(kept, w), damping=ridge.decay, tolerance=1e-13,
        )  # fmt: skip
        start = Motion(tail.x, ridge.nought())
        assert run.error(TANGENT, k, path, wanted, start) < 1e-12
        assert run.error(TANGENT, k, path, wanted) > 1e-3


def test_half_way_between_both_runs_curvature_errs_far_less(logistic):
    run, path, wanted = logistic.converged(0.1)
    middle, original = (run.error(rule, 400, path, wanted) for rule in (EXACT, TANGENT))
    assert middle < original / 10
    assert original > 1e-7  # else both would be rounding


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_gradients_that_are_only_added_back_end_worse_than_doing_nothing(logistic, share):
    run, path, wanted = logistic.converged(share)
    motion = Motion(logistic.nought(), logistic.nought())
    beats = without_curvature(run.beats(path, 200))
    for apart in propagate(beats, along_path(lambda _, delta: 0 * delta), motion):
        motion = apart.motion
        assert apart.factor in (None, pytest.approx(1))
    nothing = (path[-1].place - wanted).norm()
    assert (path[-1].place + motion.place - wanted).norm() > 2 * nothing


def test_one_curvature_for_all_directions_contracts_and_keeps_a_bias(ridge):
    run, path, wanted = ridge.converged()
    nothing = (path[-1].place - wanted).norm().item()
    wrong = along_path(uniform(0.6))
    near, far = (run.error(wrong, k, path, wanted) for k in (200, 400))
    assert near == pytest.approx(far, rel=1e-6)
    assert 0.01 * nothing < far < nothing


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize(
    "rule", [lambda m: along_path(remembered(m)), from_gradients], ids=["remembered", "gradients"]
)
def test_curvature_by_memory_contracts_but_less_than_the_true_one(ridge, rule, share):
    run, path, wanted = ridge.converged(share)
    nothing = (path[-1].place - wanted).norm().item()
    error = run.error(rule(Memory(every=7)), 100, path, wanted)
    assert 10 * run.error(EXACT, 100, path, wanted) < error < 0.1 * nothing


def test_followed_gradients_that_are_always_exact_are_replay(logistic):
    run = logistic.run(share=0.3, steps=50, batch=23, lr=0.3, momentum=0.6)
    path = run.path()
    assert run.error(from_gradients(Memory(every=1)), 50, path, run.again(path[0])) < 1e-12


def test_pushes_of_chunks_of_the_forget_set_add_up(logistic):
    """Each chunk alone, as it pulls its batch, for a known number of those who leave."""
    run, path, _ = logistic.converged(steps=5)
    for beat, ids in zip(run.beats(path), run.batches, strict=True):
        left = ids[torch.isin(ids, run.gone)]
        each = [
            len(chunk) * (logistic.slope(chunk, beat.before.place) - beat.gradient)
            for chunk in left.tensor_split(4)
        ]
        torch.testing.assert_close(
            sum(each) / (len(ids) - len(left)), beat.push(), rtol=0, atol=1e-15
        )
