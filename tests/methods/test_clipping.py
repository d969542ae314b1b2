"""A gradient that is longer than it may be is shortened, and a shorter one is left alone."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch

from expunge.descending import Descent
from expunge.errors import Diverged
from expunge.method import Method
from expunge.methods.bad_teacher import BadTeacher
from expunge.methods.neggrad import NegGrad
from expunge.methods.random_labels import RandomLabels
from expunge.methods.salun import Salun


@dataclass(frozen=True)
class Steep(Method):
    """Its gradient is finite, and the square of it is not."""

    clip: float = 1.0

    def forget(self, model, case):
        descent = Descent.of(model, case, lr=0.1, clip=self.clip)
        descent.step(1e25 * sum(p.sum() for p in model.parameters()))
        return model


def moved(world, method):
    outcome, _ = world.unlearned(method)
    pairs = zip(outcome.before.parameters(), outcome.after.parameters(), strict=True)
    return torch.cat([(after - before).flatten() for before, after in pairs]).detach()


@pytest.mark.parametrize(
    "kind", [NegGrad, RandomLabels, Salun, partial(Salun, salient=0.3), BadTeacher]
)
def test_one_step_is_as_long_as_the_clip_allows(threes, kind):
    free, short, wide = (
        moved(threes, kind(steps=1, momentum=0.0, lr=0.5, clip=clip)) for clip in (0.0, 0.01, 1e6)
    )
    assert free.norm() > 0.01
    assert short.norm() == pytest.approx(0.5 * 0.01, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), free / free.norm(), rtol=1e-3, atol=1e-5)
    assert torch.equal(wide, free)


def test_a_gradient_that_is_too_long_to_be_measured_ends_the_run(threes):
    with pytest.raises(Diverged, match="the gradient's length is inf at step 1"):
        moved(threes, Steep(clip=1.0))
