"""How little an erasure in closed form moves, and what it leaves as it is."""

import pytest
import torch

from expunge.algebra.erasure import columns, erase, project

N, D, K, C = 900, 7, 3, 2  # samples, features, groups and classes of the world


def closed_form(s, bend):
    """The minimiser by Lagrange's rule: no whitening, no projection."""
    solved = torch.linalg.solve(bend, s)
    return torch.eye(D).double() - s @ torch.linalg.pinv(s.T @ solved, rtol=1e-9) @ solved.T


def test_the_edit_is_the_smallest_by_lagranges_rule(world, counted, covariance):
    x, z, _ = world
    want = closed_form(covariance(x, columns(z, K)), covariance(x, x))
    edit = erase(counted(x, z))
    torch.testing.assert_close(edit.matrix, want, atol=1e-8, rtol=0)
    torch.testing.assert_close(edit.bias, x.mean(0) - want @ x.mean(0), atol=1e-8, rtol=0)


@pytest.mark.parametrize("inside", [False, True])
def test_no_other_map_that_erases_moves_the_samples_less(world, counted, inside):
    x, z, y = world
    moments = counted(x, z, y if inside else None)
    edit, straight = erase(moments), project(moments)
    apart = x - (torch.stack([x[y == c].mean(0) for c in range(C)])[y] if inside else x.mean(0))

    def moved(matrix):
        return (apart @ (matrix - torch.eye(D)).T).square().sum(1).mean()

    shared = moments.shared
    free = torch.eye(D).double() - shared @ torch.linalg.pinv(shared, rtol=1e-9)
    least, generator = moved(edit.matrix), torch.Generator().manual_seed(2)
    for _ in range(50):
        push = torch.randn(D, D, generator=generator).double() @ free
        assert (push @ shared).abs().max() < 1e-9  # it erases as well
        assert moved(edit.matrix + 1e-3 * push) > least
        assert moved(edit.matrix - 1e-3 * push) > least
    assert moved(straight.matrix) > 1.05 * least


def test_what_is_erased_is_no_more_than_the_groups_need(world, counted, way):
    x, z, y = world
    assert way(counted(x, z)).lost == K - 1
    assert way(counted(x, z, y)).lost == (K - 1) * C
    edit = way(counted(x, z, y))
    torch.testing.assert_close(edit(edit(x)), edit(x))


def test_a_class_that_depends_on_nothing_else_keeps_its_means(world, counted):
    """The class is told along one axis, the group along others: the first must not move."""
    x, z, y = world
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, D, generator=generator).double()
    x[:, :K] += 3 * columns(z, K)
    x[:, D - 1] += 4 * y
    for label in range(C):  # independent of the group inside each class, exactly
        mine = y == label
        told = torch.cat([columns(z[mine], K), x[mine][:, : D - 1]], 1)
        x[mine, D - 1] -= told @ torch.linalg.lstsq(told, x[mine, D - 1]).solution - 4 * label
    after = erase(counted(x, z, y))(x)
    for label in range(C):
        shift = (after[y == label] - x[y == label]).mean(0)
        assert shift[D - 1].abs() < 1e-9
    assert after[y == 1, D - 1].mean() - after[y == 0, D - 1].mean() == pytest.approx(4)


@pytest.mark.parametrize("fill", ["constant", "label", "nobody"])
def test_where_nothing_is_told_beyond_the_class_nothing_is_changed(world, counted, way, fill):
    x, z, y = world
    attribute = {"constant": z * 0 + 1, "label": y, "nobody": z * 0 - 1}[fill]
    edit = way(counted(x, attribute, y))
    assert edit.lost == 0
    torch.testing.assert_close(edit.matrix, torch.eye(D).double())
    assert edit.bias.abs().max() < 1e-12
