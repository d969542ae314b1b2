"""SalUn: only the weights that matter most to the forget set move."""

from math import ceil

import pytest
import torch
from torch.nn import functional as F

from expunge import Classes, Classification, Samples
from expunge.errors import BadSetting
from expunge.methods.salun import Salun
from expunge.unlearning import unlearn


def steepest(blobs, parts, share):
    """Which weights have the largest gradients, from the whole forget set at once."""
    x, y = (v[parts.forget.indices] for v in blobs.train.tensors)
    loss = F.cross_entropy(blobs.model(x), y)
    slopes = torch.autograd.grad(loss, [*blobs.model.parameters()])
    flat = torch.cat([s.abs().flatten() for s in slopes])
    return flat >= flat.sort(descending=True).values[ceil(share * len(flat)) - 1]


@pytest.mark.parametrize("way", ["labels", "ascent"])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_only_the_weights_with_the_largest_gradients_move(blobs, way, share):
    parts = blobs.split(Samples(tuple(range(0, 290, 2))))
    how = Salun(salient=share, way=way, steps=9)
    after = unlearn(blobs.model, parts, how, task=Classification()).after
    moved = torch.cat(
        [
            (a != b).flatten()
            for a, b in zip(after.parameters(), blobs.model.parameters(), strict=True)
        ]
    )
    mask = steepest(blobs, parts, share)
    assert not moved[~mask].any()
    assert moved[mask].double().mean() > 0.9


def test_a_digit_is_forgotten_and_the_others_are_kept(threes):
    _, after = threes.unlearned(Salun())
    assert after.test_removed.accuracy <= 0.05
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.03


def test_nothing_salient_is_refused(blobs):
    with pytest.raises(BadSetting, match="salient is 0"):
        unlearn(blobs.model, blobs.split(Classes((1,))), Salun(salient=0.0), task=Classification())
