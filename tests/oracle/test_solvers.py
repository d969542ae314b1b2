"""Solvers against dense inverses: they agree, keep their precision, and say what they miss."""

import os

import pytest
import torch

from expunge.algebra.curvature import (
    check_memory,
    conjugate_gradients,
    dense,
    explicit,
    woodbury,
)
from expunge.errors import BadSetting


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def definite(k, dtype=torch.double):
    half = torch.randn(k, k, dtype=dtype)
    return half @ half.T / k


def test_the_matrix_behind_a_product_is_symmetric_although_rounding_is_not():
    a = definite(7)
    a[2, 5] += 1e-9
    found = explicit(lambda v: a @ v, 7, like=a)
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found, (a + a.T) / 2, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float, 1e-3), (torch.double, 1e-8)])
def test_conjugate_gradients_find_the_dense_solution(dtype, close):
    a, b = definite(23, dtype), torch.randn(23, dtype=dtype)
    wanted = torch.linalg.solve(a.double() + 0.3 * torch.eye(23, dtype=torch.double), b.double())
    found = conjugate_gradients(lambda v: a @ v, b, damping=0.3, tolerance=close / 100)
    assert found.x.dtype == dtype
    assert 0 < found.rounds < 50
    assert found.residual <= close / 50
    torch.testing.assert_close(found.x.double(), wanted, rtol=0, atol=close)


def test_conjugate_gradients_need_as_many_rounds_as_there_are_eigenvalues():
    a = torch.diag(torch.tensor([1.0, 1, 1, 4, 4, 9, 9, 9]).double())
    found = conjugate_gradients(
        lambda v: a @ v, torch.randn(8).double(), damping=0.5, tolerance=1e-10
    )
    assert found.rounds == 3


def test_a_good_guess_at_the_inverse_saves_rounds():
    scales = torch.logspace(0, 6, 31, dtype=torch.double)
    b = torch.randn(31, dtype=torch.double)
    plain = conjugate_gradients(lambda v: scales * v, b, damping=0.1, rounds=400)
    eased = conjugate_gradients(
        lambda v: scales * v,
        b,
        damping=0.1,
        rounds=400,
        preconditioner=lambda v: v / (scales + 0.1),
    )
    assert eased.rounds == 1
    assert plain.rounds > 10
    torch.testing.assert_close(eased.x, b / (scales + 0.1))


def test_too_few_rounds_say_how_much_is_missed():
    a, b = definite(40), torch.randn(40, dtype=torch.double)
    found = conjugate_gradients(lambda v: a @ v, b, damping=1e-3, rounds=4)
    rest = b - a @ found.x - 1e-3 * found.x
    assert found.rounds == 4
    assert found.residual == pytest.approx((rest.norm() / b.norm()).item())
    assert 1e-4 < found.residual < 1


def test_a_direction_that_curves_down_ends_the_rounds_and_the_residual_tells():
    scales = torch.tensor([3.0, 2.0, 1.0, -5.0]).double()
    at_once = conjugate_gradients(lambda v: scales * v, torch.eye(4).double()[3], damping=0.1)
    assert (at_once.rounds, at_once.residual) == (1, 1.0)
    assert at_once.x.abs().max() == 0
    later = conjugate_gradients(
        lambda v: scales * v, torch.tensor([1, 1, 1, 0.01]).double(), damping=0.1
    )
    assert 1e-4 < later.residual < 1
    assert later.rounds < 5


def test_a_product_that_is_not_a_number_ends_the_rounds():
    b = torch.ones(3)
    found = conjugate_gradients(lambda v: v * torch.nan, b, damping=0.1)
    assert found.rounds == 1
    assert torch.equal(found.x, torch.zeros(3))
    assert found.residual != found.residual


def test_the_best_solution_so_far_is_the_one_that_is_given():
    """The residual of conjugate gradients may rise on the way; what is given never misses more."""
    a, b = torch.diag(torch.logspace(-6, 0, 30).double()), torch.ones(30, dtype=torch.double)
    missed = [
        conjugate_gradients(lambda v: a @ v, b, damping=0.0, rounds=rounds).residual
        for rounds in range(1, 12)
    ]
    assert missed == sorted(missed, reverse=True)


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
@pytest.mark.parametrize("shift", [0.0, -0.7])
def test_dense_solves_definite_and_indefinite_systems(dtype, shift):
    a, b = definite(19, dtype) + shift * torch.eye(19, dtype=dtype), torch.randn(19, dtype=dtype)
    signs = (
        torch.linalg.eigvalsh(a.double() + 0.2 * torch.eye(19, dtype=torch.double))
        .sign()
        .unique()
        .numel()
    )
    assert signs == (1 if shift == 0 else 2)
    kept = a.clone()
    found = dense(a, b, damping=0.2)
    wanted = torch.linalg.inv(a.double() + 0.2 * torch.eye(19, dtype=torch.double)) @ b.double()
    torch.testing.assert_close(found.x.double(), wanted, rtol=1e-5, atol=1e-6)
    assert found.residual < 1e-10
    assert found.x.dtype == dtype
    assert torch.equal(a, kept)


def test_a_matrix_without_an_inverse_is_refused():
    with pytest.raises(BadSetting, match="singular"):
        dense(torch.diag(torch.tensor([1.0, -0.5])), torch.ones(2), damping=0.5)


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
@pytest.mark.parametrize("m", [1, 2, 11, 29, 50])
@pytest.mark.parametrize("signed", [False, True])
def test_woodbury_finds_the_dense_solution_on_either_side(dtype, m, signed):
    rows, b = torch.randn(m, 29, dtype=dtype), torch.randn(29, dtype=dtype)
    signs = torch.where(torch.arange(m) % 3 == 1, -1.0, 1.0).to(dtype) if signed else None
    weights = torch.ones(m, dtype=dtype) if signs is None else signs
    a = (rows.double().T * weights.double()) @ rows.double()
    found = woodbury(rows, b, damping=0.05, signs=signs)
    wanted = torch.linalg.solve(a + 0.05 * torch.eye(29, dtype=torch.double), b.double())
    torch.testing.assert_close(found.x.double(), wanted, rtol=1e-4, atol=1e-5)
    assert found.x.dtype == dtype
    assert found.residual < 1e-9


def test_one_vector_may_be_added_and_another_taken_away_with_any_weight():
    u, v, b = torch.randn(3, 13, dtype=torch.double)
    weights = torch.tensor([2.5, -0.4], dtype=torch.double)
    found = woodbury(torch.stack([u, v]), b, damping=0.8, signs=weights)
    a = 0.8 * torch.eye(13, dtype=torch.double) + 2.5 * torch.outer(u, u) - 0.4 * torch.outer(v, v)
    torch.testing.assert_close(found.x, torch.linalg.solve(a, b))


def test_rows_that_weigh_nothing_change_nothing():
    rows, b = torch.randn(4, 9), torch.randn(9)
    found = woodbury(rows, b, damping=0.5, signs=torch.zeros(4))
    torch.testing.assert_close(found.x, 2 * b)


def test_fewer_rows_than_numbers_need_damping():
    with pytest.raises(BadSetting, match="damping"):
        woodbury(torch.randn(4, 9), torch.randn(9), damping=0.0)


def test_nothing_to_solve_is_solved_by_nothing():
    zero, rows = torch.zeros(6), torch.randn(2, 6)
    found = [
        conjugate_gradients(lambda v: 2 * v, zero, damping=0.1),
        dense(torch.eye(6), zero, damping=0.1),
        woodbury(rows, zero, damping=0.1),
    ]
    for solution in found:
        assert torch.equal(solution.x, zero)
        assert (solution.residual, solution.rounds) == (0.0, 0)


def test_a_block_that_memory_cannot_hold_is_refused_before_it_is_made():
    with pytest.raises(BadSetting, match=r"3,000,000 parameters takes 201,165\.7 GiB"):
        explicit(lambda v: v, 3_000_000, like=torch.zeros(1))


def test_the_limit_is_the_memory_of_the_machine(monkeypatch):
    there = {"SC_PHYS_PAGES": 6, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", there.__getitem__)
    check_memory(32)
    with pytest.raises(BadSetting, match="fewer units"):
        check_memory(33)


def test_where_the_system_does_not_say_its_memory_nothing_is_refused(monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    check_memory(10**9)


@pytest.mark.parametrize("bottom", [-0.9, -0.2, 0.0, 0.7])
@pytest.mark.parametrize("solver", ["dense", "conjugate gradients", "woodbury"])
def test_a_solution_says_whether_the_damped_matrix_bends_upwards_everywhere(bottom, solver):
    """Eigenvalues 1, 2 and ``bottom``, damped by a half."""
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.double))[0][:3]
    bends = torch.tensor([1.0, 2.0, bottom], dtype=torch.double)
    matrix, b = rotation.T @ bends.diag() @ rotation, rotation.sum(0)
    if solver == "dense":
        found = dense(matrix, b, damping=0.5)
    elif solver == "woodbury":
        found = woodbury(rotation, b, damping=0.5, signs=bends)
    else:
        found = conjugate_gradients(lambda v: matrix @ v, b, damping=0.5)
    assert found.upwards is (bottom > -0.5)
