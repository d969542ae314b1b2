"""An output that is never the best any more may still tell who is of its class."""

from math import log

import pytest
import torch
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.silenced import Silenced
from expunge.observing import snapshot

TASK = Classification()
NAME = "silenced answer (log odds), removed classes"
C = 5
ONE = Classes((2,))


class Answers(torch.nn.Module):
    """Says what its inputs say, lower by a mask, with chance in one output."""

    def __init__(self, mask=0.0, noise=0.0, column=2):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.mask, self.noise, self.column = mask, noise, column

    def forward(self, x):
        z = x.clone() * self.scale
        chance = torch.randn(len(x), generator=torch.Generator().manual_seed(7)).to(x)
        z[:, self.column] = (1 - self.noise) * z[:, self.column] + 9 * self.noise * chance
        z[:, self.column] -= self.mask
        return z


def data(n, seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % C
    x = 2 * torch.nn.functional.one_hot(y, C) + spread * torch.randn(n, C, generator=generator)
    return TensorDataset(x, y)


def measured(after, before=None, references=(), test=None, target=ONE, **settings):
    parts = split(data(60, 0), Request(target), test=test or data(400, 1))
    before = before or Answers()
    look = {m: snapshot(m, parts, TASK) for m in (after, before, *references)}
    members = [Reference(lambda m=m: m, look[m], k, 1.0, "") for k, m in enumerate(references)]
    outcome = Outcome.of(before, after, parts, task=TASK)
    kept = References(tuple(members)) if members else None
    trial = Trial(outcome, look[before], look[after], kept)
    return {m.name: m for m in Silenced(**settings).measure(trial)}


def test_the_depth_of_a_mask_changes_nothing():
    open_, shallow, deep = (measured(Answers(mask))[NAME] for mask in (0.0, 15.0, 80.0))
    assert open_.value > 2
    assert shallow.value == pytest.approx(open_.value, abs=0.01)
    assert deep.value == pytest.approx(open_.value, abs=0.01)


def test_the_odds_are_those_of_pairs_counted_one_by_one():
    test = data(100, 3, spread=2.0)
    found = measured(Answers(), test=test)[NAME]
    x, y = test.tensors
    near = x[:, 2] - x[:, [0, 1, 3, 4]].amax(1)
    pairs = [float(a > b) for a in near[y == 2] for b in near[y != 2]]
    share = sum(pairs) / len(pairs)
    assert found.value == pytest.approx(log(share / (1 - share)))
    assert found.interval[0] < found.value < found.interval[1]
    assert found.n == 20


def test_an_output_of_chance_tells_nothing_and_perfect_odds_are_finite():
    assert abs(measured(Answers(noise=1.0))[NAME].value) < 1
    clean = measured(Answers(), test=data(50, 1, spread=0.01))[NAME]
    assert clean.value == pytest.approx(log(10 * 40 * 2 - 1))


def test_what_is_masked_lies_outside_and_what_never_learnt_it_inside():
    several = [Answers(noise=share) for share in (0.9, 0.92, 0.94, 0.96, 0.98)]
    masked = measured(Answers(80.0), references=several)[NAME]
    assert masked.comparison.p < 0.01
    assert masked.control.outside
    assert not masked.comparison.inside
    honest = measured(Answers(noise=0.95), references=several)[NAME]
    assert honest.comparison.inside
    assert honest.selftest.inside


def test_every_removed_class_is_asked_about_against_those_that_stay():
    found = measured(Answers(20.0, column=1), target=Classes((1, 3)))
    assert [*found] == [f"silenced answer (log odds), removed class {k}" for k in (1, 3)]
    assert all(m.value > 2 for m in found.values())


def test_few_samples_and_no_class_say_so():
    few = measured(Answers(), test=data(45, 1))[NAME]
    assert few.value is None
    assert "9 unseen samples of class 2" in few.note
    with pytest.raises(MissingInput, match="no class was removed"):
        measured(Answers(), target=Samples((1, 2, 3)))
