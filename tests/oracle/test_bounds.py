"""What the bounds promise: no error lies above them, and the window is the shortest they allow."""

from math import log

import pytest
import torch
from torch.optim import SGD

from expunge.algebra import bounds
from expunge.algebra.contraction import along_path, at_original, midpoint

EXACT = along_path(midpoint)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_error_of_a_window_shrinks_by_the_slowest_rate_of_the_retained_loss(ridge, share):
    run, path, wanted = ridge.converged(share)
    height = torch.linalg.eigvalsh(ridge.bend(run.kept, path[0].place))[0] + ridge.decay
    slowest = log(1 - run.paces[0].lr * height.item())
    tangent = along_path(at_original)
    near, far = (log(run.error(tangent, k, path, wanted)) for k in (60, 100))
    assert (far - near) / 40 == pytest.approx(slowest, rel=0.05)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5])
def test_no_error_lies_above_its_bound(problem, share):
    """The window replayed exactly, and for ridge the recursion, which is the same there."""
    run, path, wanted = problem.converged(share)
    kept, every = run.kept, problem.everybody
    spread = max(
        (problem.slope(run.gone, m.place) - problem.slope(kept, m.place)).norm().item()
        for m in path
    )
    farthest = bounds.reach(
        share=len(run.gone) / len(every), spread=spread, curvature=problem.decay
    )
    rates = [bounds.rate(p.lr, curvature=problem.decay) for p in run.paces]
    assert (problem.optimum(kept) - problem.optimum(every)).norm().item() <= farthest
    for k in (0, 1, 5, 20, 80, 200):
        bound = bounds.left(rates[len(rates) - k :], farthest)
        replayed = run.again(path[400 - k], first=400 - k)
        assert (replayed - wanted).norm().item() <= bound
        if problem.kind == "ridge":
            assert run.error(EXACT, k, path, wanted) <= bound


def test_the_certificate_is_never_below_the_distance_to_the_optimum(problem):
    kept = problem.run(share=0.3).kept
    optimum = problem.optimum(kept)
    generator = torch.Generator().manual_seed(2)
    for length in (1e-6, 1e-3, 0.1, 1.0, 10.0):
        w = optimum + length * torch.randn(len(optimum), generator=generator).double()
        slope = (problem.slope(kept, w) + problem.decay * w).norm().item()
        assert bounds.certificate(slope, problem.decay) >= (w - optimum).norm().item()


@pytest.mark.parametrize(
    ("momentum", "dampening", "nesterov"),
    [(0.0, 0.0, False), (0.5, 0.0, False), (0.9, 0.0, False), (0.9, 0.4, False), (0.8, 0.0, True)],
)
def test_the_rate_is_the_spectral_radius_of_torchs_own_step(momentum, dampening, nesterov):
    lr, told = 0.3, {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
    for height in (0.02, 0.4, 1.5):
        columns = []
        for place, velocity in ((1.0, 0.0), (0.0, 1.0)):
            x = torch.tensor([place], dtype=torch.double, requires_grad=True)
            optimizer = SGD([x], lr=lr, **told)
            if momentum:
                optimizer.state[x]["momentum_buffer"] = torch.tensor([velocity]).double()
            x.grad = height * x.detach()
            optimizer.step()
            after = optimizer.state[x].get("momentum_buffer")
            columns.append([x.item(), after.item() if momentum else 0.0])
        radius = torch.linalg.eigvals(torch.tensor(columns).double()).abs().max().item()
        assert bounds.rate(lr, curvature=height, **told) == pytest.approx(radius)


def test_the_window_is_the_shortest_that_the_bound_allows():
    rates = [0.5, 0.9, 0.6, 0.8]
    for share in (0.9, 0.8, 0.5, 0.45, 0.3, 0.217):
        k = bounds.window(rates, share)
        assert bounds.left(rates[-k:], 2.0) <= 2 * share * (1 + 1e-12)
        assert bounds.left(rates[len(rates) - k + 1 :], 2.0) > 2 * share
    assert bounds.window(rates, 0.2) is None
    assert bounds.window([*rates, 0.0], 1e-9) == 1


def test_the_window_that_the_bound_chooses_meets_its_tolerance(ridge):
    run, path, wanted = ridge.converged(0.5)
    rates = [bounds.rate(p.lr, curvature=ridge.decay) for p in run.paces]
    nothing = (path[-1].place - wanted).norm().item()
    for share in (0.1, 1e-3):
        k = bounds.window(rates, share)
        assert k is not None
        assert run.error(EXACT, k, path, wanted) <= share * nothing
