"""Ridge and logistic regression in double precision, and runs that train them in many batches.

The oracle of a run is a plain loop of torch's own SGD without the forgotten samples.
"""

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch.optim import SGD

from expunge.algebra.contraction import Beat, Motion, Pace, descend, propagate

N, D = 120, 4
L2 = 0.05


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows, labels, and a loss in a row's answer by its first two derivatives."""

    x: torch.Tensor
    y: torch.Tensor
    kind: str

    decay = L2
    everybody = torch.arange(N)

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
        w = self.nought()
        for _ in range(30):
            step = torch.linalg.solve(
                self.bend(ids, w) + L2 * torch.eye(D), self.slope(ids, w) + L2 * w
            )
            w = w - step
        return w

    def nought(self):
        """A weight of nothing for every number of a row."""
        return torch.zeros(D).double()

    @property
    def steepest(self):
        """The largest curvature of the objective, wherever it is."""
        flat = 1.0 if self.kind == "ridge" else 0.25
        return flat * torch.linalg.eigvalsh(self.x.T @ self.x / N)[-1].item() + L2

    def run(self, *, share, steps=200, batch=N, lr=None, **settings):
        """Forget those whose first number is largest: no random choice, so a hard one."""
        generator = torch.Generator().manual_seed(1)
        ids = [torch.randperm(N, generator=generator)[:batch] for _ in range(steps)]
        pace = Pace(lr or 1 / self.steepest, decay=L2, **settings)
        order = self.x[:, 0].argsort(descending=True)
        return Run(self, ids, [pace] * steps, order[: int(share * N)])

    def converged(self, share=0.3, steps=400):
        """A run of full batches that has come to rest, its path, and training again."""
        return _converged(self, share, steps)


@dataclass(frozen=True)
class Run:
    """A training run of many batches, and who is to be forgotten."""

    problem: Problem
    batches: list
    paces: list
    gone: torch.Tensor

    def path(self, start=None):
        """Every motion of the original."""
        found = [start or Motion(self.problem.nought())]
        for ids, pace in zip(self.batches, self.paces, strict=True):
            found.append(descend(found[-1], self.problem.slope(ids, found[-1].place), pace))
        return found

    def stays(self, ids):
        return ids[~torch.isin(ids, self.gone)]

    @property
    def kept(self):
        """Everybody but the forgotten."""
        return self.stays(self.problem.everybody)

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
        motion = start or Motion(self.problem.nought())
        for apart in propagate(self.beats(path, k), rule, motion):
            motion = apart.motion
        return (path[-1].place + motion.place - wanted).norm().item()


@cache
def _converged(problem, share, steps):
    run = problem.run(share=share, steps=steps)
    path = run.path()
    return run, path, run.again(path[0])


_PROBLEMS = {kind: Problem.made(kind) for kind in ("ridge", "logistic")}


@pytest.fixture
def ridge():
    """Least squares."""
    return _PROBLEMS["ridge"]


@pytest.fixture
def logistic():
    """Two classes."""
    return _PROBLEMS["logistic"]


@pytest.fixture(params=_PROBLEMS)
def problem(request):
    """Each of them."""
    return _PROBLEMS[request.param]
