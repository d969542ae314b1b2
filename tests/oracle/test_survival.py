"""How long something lasts, against a published table and against plain means."""

import pytest
import torch

from expunge.algebra.survival import lasting, median, restricted_mean

# Weeks of remission with 6-mercaptopurine (Freireich et al., 1963); the second list is censored.
RELAPSED = (6, 6, 6, 7, 10, 13, 16, 22, 23)
WATCHED = (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
TIMES = torch.tensor(RELAPSED + WATCHED).double()
ENDED = torch.arange(21) < len(RELAPSED)


def test_the_textbook_curve_comes_out():
    moments, shares = lasting(TIMES, ENDED)
    assert moments.tolist() == [6, 7, 10, 13, 16, 22, 23]
    table = [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]
    assert shares.tolist() == pytest.approx(table, abs=1e-4)
    assert median(TIMES, ENDED) == 23


def test_the_restricted_mean_is_the_area_below_the_curve():
    steps = [(0, 6, 1), (6, 7, 18 / 21), (7, 10, 18 / 21 * 16 / 17), (10, 12, 0.7529)]
    area = sum((end - start) * height for start, end, height in steps)
    assert restricted_mean(TIMES, ENDED, 12.0) == pytest.approx(area, abs=2e-4)


def test_without_censoring_before_the_horizon_it_is_the_mean_of_what_counts():
    draw = torch.Generator().manual_seed(0)
    times = 9 * torch.rand(37, generator=draw).double()
    for horizon in (3.0, 20.0):
        ended = times < horizon
        found = restricted_mean(times.clamp_max(horizon), ended, horizon)
        assert found == pytest.approx(times.clamp_max(horizon).mean().item())


def test_what_never_ended_has_no_median_and_lasts_for_the_horizon_at_least():
    times, never = torch.full((5,), 8.0), torch.zeros(5, dtype=torch.bool)
    assert median(times, never) is None
    assert restricted_mean(times, never, 8.0) == 8


def test_a_median_that_is_just_reached_is_told():
    times = torch.tensor([2.0, 4.0, 9.0, 9.0])
    assert median(times, times < 9) == 4
    assert median(times, times < 3) is None


def test_what_ends_at_once_lasts_for_nothing():
    assert restricted_mean(torch.zeros(3), torch.ones(3) > 0, 5.0) == 0
