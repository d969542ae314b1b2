"""Margins over many models: alike is what retrained models are among themselves."""

import pytest
import torch

from expunge.errors import MissingInput
from expunge.metrics.klom import Klom

FORGET, RETAIN = "KLoM, forget", "KLoM, retain"
TAIL, SHARE = "KLoM, 95th percentile, forget", "samples with other margins (share), forget"


def test_repeats_like_retrained_models_score_what_these_score_among_themselves(crowd):
    found = crowd.measured(Klom(), crowd.models(16, 0), crowd.models(17, 1))
    (null,) = found[FORGET].target
    assert null == pytest.approx(0.36, abs=0.1)  # known of eight models alike a side
    low, high = found[FORGET].interval
    assert low < null < high
    assert found[SHARE].value == 0
    assert found[FORGET].n == crowd.gone


def test_an_interval_takes_more_repeats_than_are_in_one_draw(crowd):
    few = crowd.measured(Klom(), crowd.models(16, 0), crowd.models(15, 1))
    assert few[FORGET].interval is None
    assert few[TAIL].interval is None
    assert "16 repeated models would give it an interval" in few[FORGET].note


def test_another_mean_is_found_where_it_is_and_nowhere_else(crowd):
    found = crowd.measured(Klom(), crowd.models(24, 0), crowd.models(24, 1, shift=3.0))
    assert found[FORGET].value > 4.5  # a shift of three deviations alone
    assert found[FORGET].value > 4 * found[FORGET].target[0]
    assert found[TAIL].value > found[FORGET].value
    assert found[SHARE].value > 0.9
    assert found[RETAIN].value == pytest.approx(found[RETAIN].target[0], abs=0.15)
    assert found["samples with other margins (share), retain"].value == 0


def test_a_method_that_is_right_on_average_and_never_alike_is_found_too(crowd):
    found = crowd.measured(Klom(), crowd.models(24, 0), crowd.models(24, 1, spread=0.05))
    assert found[FORGET].value > 1.5 > found[FORGET].target[0]


def test_from_a_hundred_of_each_on_it_is_the_histograms_that_are_compared(crowd):
    found = crowd.measured(Klom(splits=3, rows=10), crowd.models(200, 0), crowd.models(100, 1))
    assert "histograms of 100 models a side" in found[FORGET].note
    assert found[FORGET].target[0] == pytest.approx(0.36, abs=0.1)  # known of a hundred
    assert found[FORGET].n == 10
    few = crowd.measured(Klom(splits=3), crowd.models(18, 0), crowd.models(100, 1))
    assert "normal distributions of 9 models a side" in few[FORGET].note


def test_every_sample_is_compared_with_itself_whatever_its_place(crowd):
    straight = crowd.measured(Klom(), crowd.models(16, 0), crowd.models(12, 1))
    mixed = crowd.measured(Klom(), crowd.models(16, 0, order=3), crowd.models(12, 1, order=7))
    assert mixed[FORGET].value == pytest.approx(straight[FORGET].value)


def test_the_picture_shows_all_samples_in_order_and_none_by_itself(crowd):
    shown = crowd.measured(Klom(), crowd.models(16, 0), crowd.models(12, 1))[FORGET].exhibit
    assert [*shown.columns] == ["share of samples", "KLoM", "model"]
    rows = torch.tensor(shown.columns["KLoM"])[:21]
    assert (rows.diff() >= 0).all()


def test_too_few_models_are_said(crowd):
    (found,) = Klom().measure(crowd.trial(crowd.models(14, 0), crowd.models(30, 1)))
    assert (found.value, found.status) == (None, "insufficient")
    assert "30 repeated and half of 14 retrained" in found.note


def test_without_repeats_there_is_nothing_to_compare(crowd):
    with pytest.raises(MissingInput, match="nobody repeated"):
        list(Klom().measure(crowd.trial(crowd.models(16, 0), None)))
    with pytest.raises(MissingInput, match="no reference model"):
        list(Klom().measure(crowd.trial(None, crowd.models(16, 0))))
