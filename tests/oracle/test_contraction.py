"""The recursion against training again: ridge and logistic regression in double precision.

The oracle is a plain loop of torch's own SGD over the same batches without the forgotten samples.
"""

from dataclasses import dataclass
from functools import cache
from math import log

import pytest
import torch
from torch.optim import SGD

from expunge.algebra import bounds
from expunge.algebra.contraction import (
    Beat,
    Motion,
    Pace,
    along_path,
    at_original,
    descend,
    from_gradients,
    midpoint,
    propagate,
    remembered,
    uniform,
    without_curvature,
)
from expunge.algebra.curvature import conjugate_gradients
from expunge.algebra.lbfgs import Memory

N, D = 120, 4
L2 = 0.05


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows, labels, and a loss in a row's answer by its first two derivatives."""

    x: torch.Tensor
    y: torch.Tensor
    kind: str

    @classmethod
    def made(cls, kind):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(N, D, generator=generator).double() * torch.tensor([1.5, 1.0, 0.7, 0.3])
        y = x @ torch.tensor([0.5, -1.0, 2.0, 1.0]).double()
        y = y + torch.randn(N, generator=generator).double()
        return cls(x, y if kind == "ridge" else (y > 0).double(), kind)

    def slope(self, ids, w):
        """The mean gradient of the loss, without the penalty."""
        x, answer = self.x[ids], self.x[ids] @ w
        said = answer if self.kind == "ridge" else answer.sigmoid()
        return x.T @ (said - self.y[ids]) / len(ids)

    def bend(self, ids, w):
        """The mean Hessian."""
        x, said = self.x[ids], (self.x[ids] @ w).sigmoid()
        weight = torch.ones(len(ids)).double() if self.kind == "ridge" else said * (1 - said)
        return (x.T * weight) @ x / len(ids)

    def optimum(self, ids):
        """Newton's method with the penalty."""
        w = torch.zeros(D).double()
        for _ in range(30):
            step = torch.linalg.solve(
                self.bend(ids, w) + L2 * torch.eye(D), self.slope(ids, w) + L2 * w
            )
            w = w - step
        return w

    @property
    def steepest(self):
        """The largest curvature of the objective, wherever it is."""
        flat = 1.0 if self.kind == "ridge" else 0.25
        return flat * torch.linalg.eigvalsh(self.x.T @ self.x / N)[-1].item() + L2


@dataclass(frozen=True)
class Run:
    """A training run of many batches, and who is to be forgotten."""

    problem: Problem
    batches: list
    paces: list
    gone: torch.Tensor

    @classmethod
    def of(cls, problem, *, share, steps=200, batch=N, lr=None, **settings):
        """Forget those whose first number is largest: no random choice, so a hard one."""
        generator = torch.Generator().manual_seed(1)
        ids = [torch.randperm(N, generator=generator)[:batch] for _ in range(steps)]
        pace = Pace(lr or 1 / problem.steepest, decay=L2, **settings)
        order = problem.x[:, 0].argsort(descending=True)
        return cls(problem, ids, [pace] * steps, order[: int(share * N)])

    def path(self, start=None):
        """Every motion of the original."""
        found = [start or Motion(torch.zeros(D).double())]
        for ids, pace in zip(self.batches, self.paces, strict=True):
            found.append(descend(found[-1], self.problem.slope(ids, found[-1].place), pace))
        return found

    def stays(self, ids):
        return ids[~torch.isin(ids, self.gone)]

    def beats(self, path, last=None):
        """What the recursion is told of the last steps."""
        first = 0 if last is None else len(self.batches) - last
        for step in range(first, len(self.batches)):
            yield self.beat(self.batches[step], self.paces[step], path[step], path[step + 1])

    def beat(self, ids, pace, before, after):
        """One step; its push is a difference of gradients, not the formula of the method."""
        kept, left = self.stays(ids), ids[torch.isin(ids, self.gone)]
        problem, gradient = self.problem, self.problem.slope(ids, before.place)
        return Beat(
            before, after, pace, gradient, len(left) / len(ids),
            lambda: gradient - problem.slope(kept, before.place),
            lambda w: problem.slope(kept, w), lambda w: problem.slope(left, w),
            lambda w: lambda v: problem.bend(kept, w) @ v,
        )  # fmt: skip

    def again(self, start, first=0):
        """The oracle: torch's SGD from a motion on, without the forgotten samples."""
        w = start.place.clone().requires_grad_()
        pace = self.paces[0]
        sgd = SGD(
            [w], lr=pace.lr, momentum=pace.momentum, dampening=pace.dampening,
            nesterov=bool(pace.nesterov), weight_decay=pace.decay,
        )  # fmt: skip
        if start.velocity is not None:
            sgd.state[w]["momentum_buffer"] = start.velocity.clone()
        for ids in self.batches[first:]:
            kept = self.stays(ids)
            if len(kept):
                w.grad = self.problem.slope(kept, w.detach())
                sgd.step()
        return w.detach()

    def error(self, rule, k, path, wanted, start=None):
        """Distance of the unlearned from the retrained weights with a window of k steps."""
        motion = start or Motion(torch.zeros(D).double())
        for apart in propagate(self.beats(path, k), rule, motion):
            motion = apart.motion
        return (path[-1].place + motion.place - wanted).norm().item()


RIDGE, LOGISTIC = Problem.made("ridge"), Problem.made("logistic")
EXACT, TANGENT = along_path(midpoint), along_path(at_original)


@cache
def converged(problem, share=0.3, steps=400):
    """A run of full batches that has come to rest, its path, and training again."""
    run = Run.of(problem, share=share, steps=steps)
    path = run.path()
    return run, path, run.again(path[0])


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_error_of_a_window_shrinks_by_the_slowest_rate_of_the_retained_loss(share):
    run, path, wanted = converged(RIDGE, share)
    height = torch.linalg.eigvalsh(RIDGE.bend(run.stays(torch.arange(N)), path[0].place))[0] + L2
    slowest = log(1 - run.paces[0].lr * height.item())
    near, far = (log(run.error(TANGENT, k, path, wanted)) for k in (60, 100))
    assert (far - near) / 40 == pytest.approx(slowest, rel=0.05)


@pytest.mark.parametrize("problem", [RIDGE, LOGISTIC], ids=["ridge", "logistic"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5])
def test_no_error_lies_above_its_bound(problem, share):
    """The window replayed exactly, and for ridge the recursion, which is the same there."""
    run, path, wanted = converged(problem, share)
    kept, every = run.stays(torch.arange(N)), torch.arange(N)
    spread = max(
        (problem.slope(run.gone, m.place) - problem.slope(kept, m.place)).norm().item()
        for m in path
    )
    farthest = bounds.reach(share=len(run.gone) / N, spread=spread, curvature=L2)
    rates = [bounds.rate(p.lr, curvature=L2) for p in run.paces]
    assert (problem.optimum(kept) - problem.optimum(every)).norm().item() <= farthest
    for k in (0, 1, 5, 20, 80, 200):
        bound = bounds.left(rates[len(rates) - k :], farthest)
        replayed = run.again(path[400 - k], first=400 - k)
        assert (replayed - wanted).norm().item() <= bound
        if problem is RIDGE:
            assert run.error(EXACT, k, path, wanted) <= bound


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
def test_on_ridge_the_recursion_is_replay(settings, first):
    run = Run.of(RIDGE, share=0.3, steps=40, batch=17, lr=0.1, **settings)
    path = run.path()
    wanted = run.again(path[first], first=first)
    assert (wanted - path[-1].place).norm() > 0.05
    still = Motion(torch.zeros(D).double(), None if first == 0 else torch.zeros(D).double())
    for rule in (EXACT, TANGENT):
        assert run.error(rule, 40 - first, path, wanted, still) < 1e-12


def test_every_parameter_may_have_a_pace_of_its_own():
    slow = torch.tensor([0.1, 0.1, 0.02, 0.02]).double()
    run = Run.of(RIDGE, share=0.2, steps=30, batch=19)
    mixed = Pace(slow, momentum=slow * 5, decay=slow / 2)
    run = Run(RIDGE, run.batches, [mixed] * 30, run.gone)
    path, w = run.path(), torch.zeros(D).double()
    v = torch.zeros(D).double()
    for ids in run.batches:
        kept = run.stays(ids)
        v = slow * 5 * v + RIDGE.slope(kept, w) + slow / 2 * w
        w = w - slow * v
    assert run.error(EXACT, 30, path, w) < 1e-12


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.7}, {"momentum": 0.7, "nesterov": 1.0}])
def test_a_batch_that_is_forgotten_as_a_whole_is_left_out(settings):
    run = Run.of(RIDGE, share=0.2, steps=30, batch=11, lr=0.1, **settings)
    batches = [run.gone[:11] if step in (0, 4, 21) else b for step, b in enumerate(run.batches)]
    run = Run(RIDGE, batches, run.paces, run.gone)
    path = run.path()
    assert run.error(EXACT, 30, path, run.again(path[0])) < 1e-12
    factors = [apart.factor for apart in propagate(run.beats(path), EXACT, path[0])]
    assert [step for step, factor in enumerate(factors) if factor is None] == [0, 4, 21]


def test_with_its_tail_a_window_on_converged_ridge_is_exact():
    """The tail: what is left of the past is the step that the retained curvature asks for."""
    run, path, wanted = converged(RIDGE, steps=700)
    kept, every = run.stays(torch.arange(N)), torch.arange(N)
    for k in (0, 1, 20):
        w = path[700 - k].place
        tail = conjugate_gradients(
            lambda v, w=w: RIDGE.bend(kept, w) @ v,
            RIDGE.slope(every, w) - RIDGE.slope(kept, w), damping=L2, tolerance=1e-13,
        )  # fmt: skip
        start = Motion(tail.x, torch.zeros(D).double())
        assert run.error(TANGENT, k, path, wanted, start) < 1e-12
        assert run.error(TANGENT, k, path, wanted) > 1e-3


def test_half_way_between_both_runs_curvature_errs_far_less():
    run, path, wanted = converged(LOGISTIC, 0.1)
    middle, original = (run.error(rule, 400, path, wanted) for rule in (EXACT, TANGENT))
    assert middle < original / 10
    assert original > 1e-7  # else both would be rounding


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_gradients_that_are_only_added_back_end_worse_than_doing_nothing(share):
    run, path, wanted = converged(LOGISTIC, share)
    motion = Motion(torch.zeros(D).double(), torch.zeros(D).double())
    beats = without_curvature(run.beats(path, 200))
    for apart in propagate(beats, along_path(lambda _, delta: 0 * delta), motion):
        motion = apart.motion
        assert apart.factor in (None, pytest.approx(1))
    nothing = (path[-1].place - wanted).norm()
    assert (path[-1].place + motion.place - wanted).norm() > 2 * nothing


def test_one_curvature_for_all_directions_contracts_and_keeps_a_bias():
    run, path, wanted = converged(RIDGE)
    nothing = (path[-1].place - wanted).norm().item()
    wrong = along_path(uniform(0.6))
    near, far = (run.error(wrong, k, path, wanted) for k in (200, 400))
    assert near == pytest.approx(far, rel=1e-6)
    assert 0.01 * nothing < far < nothing


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize(
    "rule", [lambda m: along_path(remembered(m)), from_gradients], ids=["remembered", "gradients"]
)
def test_curvature_by_memory_contracts_but_less_than_the_true_one(rule, share):
    run, path, wanted = converged(RIDGE, share)
    nothing = (path[-1].place - wanted).norm().item()
    error = run.error(rule(Memory(every=7)), 100, path, wanted)
    assert 10 * run.error(EXACT, 100, path, wanted) < error < 0.1 * nothing


def test_followed_gradients_that_are_always_exact_are_replay():
    run = Run.of(LOGISTIC, share=0.3, steps=50, batch=23, lr=0.3, momentum=0.6)
    path = run.path()
    assert run.error(from_gradients(Memory(every=1)), 50, path, run.again(path[0])) < 1e-12


def test_pushes_of_chunks_of_the_forget_set_add_up():
    """Each chunk alone, as it pulls its batch, for a known number of those who leave."""
    run, path, _ = converged(LOGISTIC, steps=5)
    for beat, ids in zip(run.beats(path), run.batches, strict=True):
        left = ids[torch.isin(ids, run.gone)]
        each = [
            len(chunk) * (LOGISTIC.slope(chunk, beat.before.place) - beat.gradient)
            for chunk in left.tensor_split(4)
        ]
        torch.testing.assert_close(
            sum(each) / (len(ids) - len(left)), beat.push(), rtol=0, atol=1e-15
        )


@pytest.mark.parametrize("problem", [RIDGE, LOGISTIC], ids=["ridge", "logistic"])
def test_the_certificate_is_never_below_the_distance_to_the_optimum(problem):
    kept = Run.of(problem, share=0.3).stays(torch.arange(N))
    optimum = problem.optimum(kept)
    generator = torch.Generator().manual_seed(2)
    for length in (1e-6, 1e-3, 0.1, 1.0, 10.0):
        w = optimum + length * torch.randn(D, generator=generator).double()
        slope = (problem.slope(kept, w) + L2 * w).norm().item()
        assert bounds.certificate(slope, L2) >= (w - optimum).norm().item()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_rate_is_the_spectral_radius_of_a_step(momentum):
    for height in (0.02, 0.4, 1.5):
        step = torch.tensor([[1 + momentum - 0.3 * height, -momentum], [1.0, 0.0]]).double()
        radius = torch.linalg.eigvals(step).abs().max().item()
        assert bounds.rate(0.3, curvature=height, momentum=momentum) == pytest.approx(radius)


def test_the_window_is_the_shortest_that_the_bound_allows():
    rates = [0.5, 0.9, 0.6, 0.8]
    for share in (0.9, 0.8, 0.5, 0.45, 0.3, 0.217):
        k = bounds.window(rates, share)
        assert bounds.left(rates[-k:], 2.0) <= 2 * share * (1 + 1e-12)
        assert bounds.left(rates[len(rates) - k + 1 :], 2.0) > 2 * share
    assert bounds.window(rates, 0.2) is None
    assert bounds.window([*rates, 0.0], 1e-9) == 1


def test_the_window_that_the_bound_chooses_meets_its_tolerance():
    run, path, wanted = converged(RIDGE, 0.5)
    rates = [bounds.rate(p.lr, curvature=L2) for p in run.paces]
    nothing = (path[-1].place - wanted).norm().item()
    for share in (0.1, 1e-3):
        k = bounds.window(rates, share)
        assert k is not None
        assert run.error(EXACT, k, path, wanted) <= share * nothing


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_the_compact_form_is_the_matrix_that_updates_one_by_one_make(pairs):
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(7, 7, generator=generator).double()
    a = a @ a.T + torch.eye(7)
    memory, wanted = Memory(most=pairs), []
    for _ in range(5):
        move = torch.randn(7, generator=generator).double()
        memory.learn(move, a @ move)
        wanted.append((move, a @ move))
    last = wanted[-pairs:]
    b = (last[-1][1] @ last[-1][1]) / (last[-1][0] @ last[-1][1]) * torch.eye(7).double()
    for s, y in last:
        b = b - torch.outer(b @ s, b @ s) / (s @ b @ s) + torch.outer(y, y) / (s @ y)
    v = torch.randn(7, generator=generator).double()
    torch.testing.assert_close(memory.product(v), b @ v, rtol=0, atol=1e-10)
    torch.testing.assert_close(memory.product(last[-1][0]), last[-1][1], rtol=0, atol=1e-10)


def test_a_move_that_shows_no_curvature_upwards_is_not_remembered():
    memory = Memory()
    for change in ([-1.0, 0.0], [0.0, 3.0], [0.0, 0.0]):
        memory.learn(torch.tensor([2.0, 0.0]), torch.tensor(change))
    assert memory.pairs == []
    assert memory.due()


def test_an_exact_product_is_due_at_first_and_then_every_so_often():
    memory = Memory(every=4, first=3)
    memory.learn(torch.ones(2), torch.ones(2))
    assert [step for step in range(1, 14) if memory.due()] == [1, 2, 3, 4, 8, 12]
