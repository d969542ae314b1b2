"""Directions that tell groups apart, where it is known which do."""

import pytest
import torch

from expunge.algebra.geometry import telling

N, D = 300, 5


def rows(groups):
    draw = torch.Generator().manual_seed(0)
    z = torch.arange(N) % groups
    return torch.randn(N, D, generator=draw), z


def test_two_groups_are_told_by_the_first_direction_and_not_by_the_second():
    x, z = rows(2)
    x[:, 3] += 4.0 * z
    x[:, 1] *= 5
    axes = telling(x, z)
    assert axes[3, 0].abs() > 0.98
    assert axes[1, 1].abs() > 0.98  # where the rest varies most
    torch.testing.assert_close(axes.T @ axes, torch.eye(2).double())


def test_three_groups_are_told_by_both_directions():
    x, z = rows(3)
    x[:, 0] += 4.0 * (z == 1)
    x[:, 2] += 4.0 * (z == 2)
    assert telling(x, z)[[0, 2]].norm(dim=0).tolist() == pytest.approx([1, 1], abs=0.02)


@pytest.mark.parametrize("d", [1, D])
def test_features_that_say_nothing_still_have_finite_directions(d):
    assert telling(torch.zeros(N, d), torch.arange(N) % 2).shape == (d, 2)
    assert telling(torch.zeros(N, d), torch.arange(N) % 2).isfinite().all()
