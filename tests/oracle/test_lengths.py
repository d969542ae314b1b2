"""Lengths chosen together: against the closed form of a parabola."""

import torch

from expunge.algebra.lengths import best

C = 4


def parabola(seed):
    half = torch.randn(C, C, generator=torch.Generator().manual_seed(seed)).double()
    bend, slope = half @ half.T + 0.1 * torch.eye(C).double(), torch.arange(C) - 2.5
    return bend, slope.double(), lambda s: s @ bend @ s / 2 + slope.double() @ s


def test_they_are_where_a_parabola_is_least():
    bend, slope, loss = parabola(0)
    torch.testing.assert_close(
        best(loss, slope), -torch.linalg.solve(bend, slope), rtol=1e-4, atol=1e-5
    )


def test_a_slope_that_all_samples_tell_takes_the_place_of_that_of_a_few():
    bend, slope, loss = parabola(1)
    known = slope + torch.tensor([1.0, -1.0, 0.5, 0.0]).double()
    torch.testing.assert_close(
        best(loss, known), -torch.linalg.solve(bend, known), rtol=1e-4, atol=1e-5
    )
