"""Weights: three readable ones, and the paper's three with their signs."""

import pytest

from expunge.detaching import Weights
from expunge.detaching.weighing import ramp
from expunge.errors import BadSetting


def test_the_papers_weights_are_those_of_its_objective():
    found = Weights.of_paper(2.0, 0.25, 1.0)
    assert (found.keep_x, found.keep_y, found.strength) == (1.5, 0.5, 1.5)
    assert Weights.of_paper(1.0, 0.5, 1.5) == Weights()


@pytest.mark.parametrize(("gamma", "fate"), [(0.5, "left alone"), (0.4, "protected")])
def test_a_gamma_that_would_not_remove_the_attribute_is_refused(gamma, fate):
    with pytest.raises(BadSetting, match=fate):
        Weights.of_paper(1.0, 0.5, gamma)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.5), (1.0, 0.0), (1.0, 1.0), (-1.0, 0.5)])
def test_inputs_and_task_must_both_be_kept(alpha, beta):
    with pytest.raises(BadSetting, match="both be kept"):
        Weights.of_paper(alpha, beta, 2.0)


@pytest.mark.parametrize("wrong", [{"keep_y": 0.0}, {"keep_x": -0.1}, {"strength": -1.0}])
def test_weights_that_keep_or_remove_the_wrong_way_are_refused(wrong):
    with pytest.raises(BadSetting, match="keep_y"):
        Weights(**wrong)


def test_early_features_keep_more_of_the_inputs_and_late_ones_remove_more():
    early, late, whole = Weights().at(0.25), Weights().at(0.75), Weights().at(1.0)
    assert whole == Weights()
    assert early.keep_x > late.keep_x > whole.keep_x
    assert early.strength < late.strength < whole.strength
    assert early.keep_y < late.keep_y < whole.keep_y


def test_the_removal_starts_from_nothing_and_rises_to_its_full_strength():
    found = [ramp(step, 10) for step in range(14)]
    assert found[0] == 0
    assert found == sorted(found)
    assert found[10:] == [1.0] * 4
    assert ramp(0, 0) == 1
