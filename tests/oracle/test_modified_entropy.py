"""Modified entropy against its table, and against the mistake that is often copied."""

import pytest
import torch
from scipy import stats

from expunge.attacks.threshold import entropy, modified_entropy

P = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.1, 0.6, 0.3]], dtype=torch.double)
Y = torch.tensor([0, 2, 1])


def test_the_table_is_reproduced():
    assert modified_entropy(P, Y).tolist() == pytest.approx(
        [0.162167, 2.959736, 0.321869], abs=5e-7
    )


def test_plain_entropy_is_scipys_and_does_not_look_at_the_label():
    assert entropy(P).tolist() == pytest.approx([0.801819, 0.801819, 0.897946], abs=5e-7)
    assert entropy(P).tolist() == pytest.approx(stats.entropy(P.numpy(), axis=1).tolist())


def test_what_else_is_in_the_batch_does_not_matter():
    order = torch.tensor([2, 0, 1])
    together = modified_entropy(P, Y)
    assert torch.equal(modified_entropy(P[order], Y[order]), together[order])
    alone = torch.cat([modified_entropy(P[i : i + 1], Y[i : i + 1]) for i in range(3)])
    assert torch.equal(alone, together)


def test_renaming_the_classes_does_not_matter():
    renamed = torch.tensor([1, 2, 0])  # column j holds what was column renamed[j]
    where = renamed.argsort()
    found = modified_entropy(P[:, renamed], where[Y])
    torch.testing.assert_close(found, modified_entropy(P, Y))


def test_being_sure_and_right_is_zero_and_being_sure_and_wrong_is_far_but_finite():
    sure = torch.tensor([[1.0, 0, 0]] * 2, dtype=torch.double)
    right, wrong = modified_entropy(sure, torch.tensor([0, 1])).tolist()
    assert right == 0
    assert 100 < wrong < float("inf")


def test_more_belief_in_the_truth_is_always_less_modified_entropy():
    own = torch.linspace(0.01, 0.99, 50, dtype=torch.double)
    p = torch.stack([own, (1 - own) * 0.3, (1 - own) * 0.7], dim=1)
    found = modified_entropy(p, torch.zeros(50, dtype=torch.long))
    assert bool((found.diff() < 0).all())
