"""The compact memory of moves against the updates that it stands for, made one by one."""

import pytest
import torch

from expunge.algebra.lbfgs import Memory


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
