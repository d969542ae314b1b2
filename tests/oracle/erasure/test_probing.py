"""What no affine probe can read after an erasure in closed form, and what it still can."""

from math import log

import pytest
import torch

from expunge.algebra.erasure import Moments, columns, erase
from expunge.algebra.information import Prior

N, D, K, C = 900, 7, 3, 2  # samples, features, groups and classes of the world


def test_no_affine_probe_beats_the_frequencies_on_the_samples_counted(
    world, counted, covariance, logistic, way
):
    x, z, _ = world
    entropy = Prior.of(z, z * 0, groups=K).entropy
    after = way(counted(x, z))(x)
    assert covariance(after, columns(z, K)).abs().max() < 1e-10
    rows = torch.cat([after, torch.ones(N, 1)], 1)
    line = rows @ torch.linalg.lstsq(rows, columns(z, K), driver="gelsd").solution
    torch.testing.assert_close(line, columns(z, K).mean(0).expand(N, K), atol=1e-9, rtol=0)
    assert logistic(x, z)[0] < entropy - 0.2
    loss, weight = logistic(after, z)
    assert loss == pytest.approx(entropy, abs=1e-6)
    assert weight < 1e-3


def test_inside_each_class_no_affine_probe_beats_the_frequencies_of_the_class(
    world, counted, logistic, way
):
    x, z, y = world
    after = way(counted(x, z, y))(x)
    for mine in (y == 0, y == 1):
        entropy = Prior.of(z[mine], z[mine] * 0, groups=K).entropy
        assert logistic(x[mine], z[mine])[0] < entropy - 0.2
        assert logistic(after[mine], z[mine])[0] == pytest.approx(entropy, abs=1e-6)


def test_inside_each_class_all_groups_have_the_mean_of_the_class_where_the_map_sends_it(
    world, counted
):
    x, z, y = world
    edit = erase(counted(x, z, y))
    after = edit(x)
    torch.testing.assert_close(after.mean(0), x.mean(0))
    for label in range(C):
        centre = edit(x[y == label].mean(0, keepdim=True))[0]
        for group in range(K):
            mine = after[(y == label) & (z == group)].mean(0)
            torch.testing.assert_close(mine, centre, atol=1e-9, rtol=0)
    assert (after[y == 0].mean(0) - after[y == 1].mean(0)).norm() > 0.1


def test_an_attribute_coded_by_the_parity_of_two_signs_survives(counted, logistic):
    generator = torch.Generator().manual_seed(3)
    signs = torch.cartesian_prod(torch.tensor([-1.0, 1]), torch.tensor([-1.0, 1])).repeat(500, 1)
    z = (signs.prod(1) > 0).long()
    told = z[:, None] + torch.randn(2000, 1, generator=generator)  # and by a mean of its own
    x = torch.cat([signs, told, torch.randn(2000, 2, generator=generator)], 1).double()
    edit = erase(counted(x, z, groups=2))
    after = edit(x)
    assert edit.lost == 1
    assert logistic(after, z)[0] == pytest.approx(log(2), abs=1e-6)
    assert torch.equal((after[:, 0] * after[:, 1] > 0).long(), z)


def test_batches_add_up_and_large_offsets_cost_no_digits(world, counted):
    x, z, y = world
    whole = erase(counted(x, z, y))
    pieces = Moments(C)
    for rows in torch.arange(N).split(64):
        pieces.add(x[rows] + 1e5, columns(z[rows], K), y[rows])
    found = erase(pieces)
    torch.testing.assert_close(found.matrix, whole.matrix, atol=1e-6, rtol=0)
    torch.testing.assert_close(found(x + 1e5), whole(x) + 1e5, atol=1e-6, rtol=0)


def test_missing_answers_are_left_out_and_their_features_still_count(world, counted, covariance):
    x, z, y = world
    some = torch.where(torch.arange(N) % 3 == 0, -1, z)
    seen = some >= 0
    moments = counted(x, some, y)
    after = erase(moments)(x)
    for label in range(C):
        mine = seen & (y == label)
        assert covariance(after[mine], columns(z[mine], K)).abs().max() < 1e-9
    torch.testing.assert_close(moments.mean, x.mean(0))
    centred = x - torch.stack([x[y == label].mean(0) for label in range(C)])[y]
    torch.testing.assert_close(moments.within, centred.T @ centred / N)


def test_several_attributes_and_numbers_go_together(world, covariance):
    x, z, _ = world
    age = 40 + 9 * x[:, 0] + 2 * x[:, 3] ** 2
    age[::4] = torch.nan
    moments, one = Moments(), torch.zeros_like(z)
    moments.add(x, torch.cat([columns(z, K), age[:, None]], 1), one)
    edit = erase(moments)
    known = ~age.isnan()
    assert edit.lost == K
    assert covariance(edit(x)[known], age[known, None]).abs().max() < 1e-8
    assert covariance(edit(x), columns(z, K)).abs().max() < 1e-10
