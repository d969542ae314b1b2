"""A little work tells how long much of it takes; what is slow at the start is not counted."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import TensorDataset

from expunge.fitting import Fit
from expunge.pacing import Pace, paced, smaller, some, training
from expunge.splitting import Part


def rows(n):
    return Part.whole(TensorDataset(torch.zeros(n, 5), torch.zeros(n, dtype=torch.long)))


@pytest.mark.parametrize(("epochs", "n"), [(7, 10_000), (30, 960), (1, 100)])
def test_our_own_loop_is_told_by_a_few_batches_after_a_warm_up(epochs, n, clock, foreign):
    fit = Fit(epochs=epochs, batch=32, augment=clock.batch)
    found = training(replace(foreign, fit=fit), rows(n)).seconds(n)
    batches = -(-n // 32)
    assert found == pytest.approx(epochs * batches * 0.01, rel=0.05)
    assert clock.now < 3 + 3  # the slow ones, and the time that was meant for timing


@pytest.mark.parametrize("n", [300, 5_000, 80_000])
def test_a_loop_of_somebody_elses_is_told_by_two_sizes(n, clock, foreign):
    found = training(foreign, rows(n)).seconds(n)
    assert found == pytest.approx(0.5 + 0.002 * n, rel=0.05)
    assert max(clock.trained) <= 2048


def test_slow_work_is_cut_small_and_quick_work_is_not(clock):
    asked = []

    def work(part):
        asked.append(len(part))
        clock.now += len(part)

    assert paced(work, rows(9_000)).seconds(9_000) == 9_000
    assert max(asked) == 128
    asked.clear()
    assert paced(lambda part: asked.append(len(part)), rows(900)).seconds(900) == 0
    assert max(asked) == 900


def test_time_does_not_run_backwards(clock):
    spent = iter([1.0, 1.0, 0.9, 0.9, 0.9])

    def work(_):
        clock.now += next(spent)

    found = paced(work, rows(256))
    assert found.each >= 0
    assert found.start >= 0


def test_every_class_keeps_its_share_of_a_smaller_split(parts):
    few = smaller(parts, 0.2)
    assert (len(few.forget), len(few.retain), len(few.test)) == (24, 42, 24)
    assert set(few.forget.indices.tolist()) <= set(parts.forget.indices.tolist())
    assert (few.test.indices % 3).bincount().min() >= 7
    assert smaller(parts, 1.0).retain is parts.retain


def test_no_part_is_asked_for_more_than_it_has():
    assert len(some(rows(5), 9)) == 5
    assert Pace(1.0, 0.5).seconds(4) == 3.0
