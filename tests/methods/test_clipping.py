"""A gradient that is longer than it may be is shortened, and a shorter one is left alone."""

import pytest
import torch

from expunge.methods.neggrad import NegGrad
from expunge.methods.random_labels import RandomLabels
from expunge.methods.salun import Salun


def moved(world, method):
    outcome, _ = world.unlearned(method)
    pairs = zip(outcome.before.parameters(), outcome.after.parameters(), strict=True)
    return torch.cat([(after - before).flatten() for before, after in pairs]).detach()


@pytest.mark.parametrize("kind", [NegGrad, RandomLabels, Salun])
def test_one_step_is_as_long_as_the_clip_allows(threes, kind):
    free, short, wide = (
        moved(threes, kind(steps=1, momentum=0.0, lr=0.5, clip=clip)) for clip in (0.0, 0.01, 1e6)
    )
    assert free.norm() > 0.01
    assert short.norm() == pytest.approx(0.5 * 0.01, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), free / free.norm(), rtol=1e-3, atol=1e-5)
    assert torch.equal(wide, free)
