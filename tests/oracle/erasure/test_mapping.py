"""Erasures as maps: folded into the layers around them."""

import pytest
import torch
from torch import nn

from expunge.algebra.erasure import Map, erase

D = 7  # features of the world


@pytest.mark.parametrize("bias", [True, False])
def test_an_edit_is_folded_into_the_layers_on_both_sides(world, counted, bias):
    x, z, _ = world
    edit, like = erase(counted(x, z)), torch.zeros(1, dtype=torch.double)
    torch.manual_seed(0)
    before, after = nn.Linear(4, D).double(), nn.Linear(D, 5, bias=bias).double()
    raw = torch.randn(11, 4).double()
    folded = edit.after(Map.of(before)).layer(like)
    torch.testing.assert_close(folded(raw), edit(before(raw)))
    head = Map.of(after).after(edit).layer(like)
    torch.testing.assert_close(head(x), after(edit(x)))
    assert edit.layer(torch.zeros(1)).weight.dtype == torch.float32


def test_a_layer_is_made_without_a_draw():
    state = torch.random.get_rng_state()
    Map(torch.eye(3), torch.zeros(3)).layer(torch.zeros(1))
    assert torch.equal(torch.random.get_rng_state(), state)
