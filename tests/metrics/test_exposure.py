"""Who is remembered by heart stands out among retrained models, and nobody else does."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from expunge import Outcome, Samples
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.exposure import Exposure
from expunge.observing import Observation, Snapshot
from expunge.testing import toy

N = 90


def snapshot(seed, memory=None):
    """A model's answers about 90 forgotten samples, a few of which it may know by heart."""
    generator = torch.Generator().manual_seed(seed)
    difficulty = 3 * torch.randn(N, generator=torch.Generator().manual_seed(99))
    sure = difficulty + torch.randn(N, generator=generator)
    if memory is not None:
        sure[list(memory)] += 8
    logits = torch.stack([sure, torch.zeros(N)], 1)
    gone = Observation(torch.arange(N) * 3, logits, torch.zeros(N, dtype=torch.long))
    return Snapshot(gone, gone.only(torch.arange(0)), gone.only(torch.arange(0)))


@cache
def outcome():
    """Somebody's outcome; who is asked about is made up."""
    problem = toy(Samples((1, 2)))
    return Outcome.of(problem.model, problem.model, problem.split, task=problem.task)


def told(after, references=5, before=None):
    members = tuple(
        Reference(lambda: None, snapshot(10 + k), k, 1.0, "") for k in range(references)
    )
    trial = Trial(outcome(), before or snapshot(1, range(N)), after, References(members))
    return list(Exposure().measure(trial))


def test_few_that_are_known_by_heart_are_found_and_named_by_their_number():
    memory = [4, 31, 77]
    share, worst = told(snapshot(2, memory))
    assert share.value == pytest.approx(0.05 + 3 / N, abs=0.06)
    assert set(worst.exhibit.columns["sample of the request"][:3]) == {5, 32, 78}
    assert worst.value > max(worst.target)


def test_of_a_retrained_model_as_many_stand_out_as_of_others():
    share, worst = told(snapshot(3))
    low, high = share.interval
    assert low < 0.05 < high
    assert sum(share.target) / 5 == pytest.approx(0.05, abs=0.04)
    assert min(worst.target) - 0.5 < worst.value < max(worst.target) + 0.5


def test_an_original_that_knows_all_is_beside_it():
    share, _ = told(snapshot(3))
    assert share.original.value > 0.95


def test_no_position_in_the_training_set_is_told():
    _, worst = told(snapshot(2, [89]))
    listed = worst.exhibit.columns["sample of the request"]
    assert listed[0] == 90  # its number in the request; its position is 267
    assert max(listed) <= N


def test_two_references_are_too_few_and_none_is_missing():
    with pytest.raises(MissingInput, match="at least 3"):
        told(snapshot(2), references=2)
    with pytest.raises(MissingInput, match="no reference"):
        list(Exposure().measure(Trial(outcome(), snapshot(1), snapshot(2))))


def test_a_class_that_left_as_a_whole_exposes_nobody():
    seen = replace(snapshot(2), removed=(0,))
    members = tuple(
        Reference(lambda: None, replace(snapshot(k), removed=(0,)), k, 1.0, "") for k in range(3)
    )
    with pytest.raises(MissingInput, match="by itself"):
        list(Exposure().measure(Trial(outcome(), seen, seen, References(members))))
