"""Saved weights name the erasures that a fresh model needs before it can load them."""

import pytest
import torch
from torch import nn

from expunge.algebra.erasure import Map
from expunge.erasing import restored
from expunge.erasing.inserting import ErasedInput, ErasedOutput, Erasure


def twofold(toy):
    """Erased before a layer that lies inside another, which is erased afterwards."""
    model, (wide, narrow) = toy.built(toy.nested), (torch.randn(d, d).double() for d in (12, 2))
    head = ErasedInput(model[2][0], Erasure(Map(wide, wide[0]), wide.device))
    model[2][0] = head
    model[2] = ErasedOutput(model[2], Erasure(Map(narrow, narrow[0]), wide.device))
    return model


SAVED = {
    "before the head": ("network", lambda toy: toy.erased(toy.built(toy.network)).after),
    "after a layer": (
        "network",
        lambda toy: toy.erased(toy.built(toy.network), toy.reading(layer="1")).after,
    ),
    "the whole model": ("lone", lambda toy: toy.erased(toy.built(toy.lone)).after),
    "under two names": ("twice", lambda toy: toy.erased(toy.built(toy.twice)).after),
    "one in another": ("nested", twofold),
    "nothing": ("network", lambda toy: toy.built(toy.network, seed=1)),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_fresh_model_is_restored_from_the_names_of_saved_weights(toy, name):
    fresh, made = SAVED[name]
    saved = made(toy)
    tensors, x = saved.state_dict(), toy.drawn()[0]
    found = restored(toy.built(getattr(toy, fresh), seed=2), tensors)
    assert [*found.state_dict()] == [*tensors]
    found.load_state_dict(tensors)
    assert torch.equal(found(x), saved(x))


def test_names_that_a_model_has_itself_or_does_not_have_are_left_alone(toy):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Module()
            self.before.matrix = nn.Parameter(torch.eye(2))

    matrix = torch.eye(2)
    for model, name in ((Own(), "before.matrix"), (toy.network(), "7.after.matrix")):
        names = [*model.state_dict()]
        found = restored(model, {name: matrix, "after.matrix.bias": matrix})
        assert found is model
        assert [*found.state_dict()] == names
