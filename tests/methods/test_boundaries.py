"""Boundary shrink and expand: to the class across the boundary, and into one that is taken away."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Request, split
from expunge.batching import Batches
from expunge.errors import ModelDoesNotFit
from expunge.method import Case
from expunge.methods import boundary_shrink
from expunge.methods.boundary_expand import BoundaryExpand
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.unlearning import seeded, unlearn

TASK = Classification()


@pytest.mark.parametrize("method", [BoundaryShrink(), BoundaryExpand()])
def test_a_digit_is_forgotten_and_the_others_are_kept(threes, method):
    outcome, after = threes.unlearned(method)
    assert after.test_removed.accuracy <= 0.05
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.03
    assert len(outcome.traces["loss"]) == method.steps


def test_samples_between_two_classes_are_given_to_the_nearer_one():
    """Of four clouds on a line, the second leaves: each of its halves goes to its own side."""
    x = torch.cat([torch.linspace(at - 0.4, at + 0.4, 8) for at in (0.0, 1.0, 2.0, 3.0)])
    y = torch.arange(4).repeat_interleave(8)
    model = nn.Linear(1, 4)
    centres = torch.arange(4.0)
    with torch.no_grad():  # logits are minus the squared distances to the centres, but for x²
        model.weight.copy_(2 * centres[:, None])
        model.bias.copy_(-centres.square())
    data = TensorDataset(x[:, None], y)
    for gone, nearest in (((1,), [0] * 4 + [2] * 4), ((1, 2), [0] * 8 + [3] * 8)):
        parts = split(data, Request(Classes(gone)), test=data)
        case = Case(parts.targets, Batches(parts.forget, 5), Batches(parts.retain), None, TASK)
        assert boundary_shrink._nearest(model, case, 0.6).tolist() == nearest


def test_one_step_of_expansion_is_that_of_a_wider_head_whose_last_row_is_dropped():
    with seeded(0):
        x, model = torch.randn(9, 5), nn.Linear(5, 3)
    data = TensorDataset(x, torch.arange(9) % 3)
    parts = split(data, Request(Classes((2,))), test=data)
    how = BoundaryExpand(steps=1, share=1.0, lr=0.7, momentum=0.0, clip=0.0)
    after = unlearn(model, parts, how, task=TASK, seed=6).after
    with seeded(6):
        extra = nn.Linear(5, 1)
    weight = torch.cat([model.weight, extra.weight]).detach().requires_grad_()
    bias = torch.cat([model.bias, extra.bias]).detach().requires_grad_()
    said = F.linear(x[2::3], weight, bias)
    F.cross_entropy(said, torch.full((3,), 3)).backward()
    torch.testing.assert_close(after.weight, (weight - 0.7 * weight.grad)[:3].detach())
    torch.testing.assert_close(after.bias, (bias - 0.7 * bias.grad)[:3].detach())


def test_a_model_without_a_linear_head_is_refused_with_advice():
    class Distances(nn.Module):
        def __init__(self):
            super().__init__()
            self.centres = nn.Parameter(torch.eye(3, 5))

        def forward(self, x):
            return -torch.cdist(x, self.centres)

    with seeded(0):
        data = TensorDataset(torch.randn(9, 5), torch.arange(9) % 3)
    parts = split(data, Request(Classes((2,))), test=data)
    with pytest.raises(ModelDoesNotFit, match="last Linear") as why:
        unlearn(Distances(), parts, BoundaryExpand(), task=TASK)
    assert "boundary_shrink" in why.value.hint
