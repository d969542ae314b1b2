"""Whether a model is still of use is judged beside the word, and never hidden by it."""

from dataclasses import replace

import pytest

from expunge.algebra.statistics import Interval
from expunge.auditing import Evidence
from expunge.judging import UTILITY, judge
from expunge.metric import Measurement

AUC = "membership AUC, threshold (loss)"
GONE = "test accuracy, removed classes"


def test_a_drop_below_every_reference_is_degraded_where_chance_does_not_explain_it(
    measured, judged
):
    found = replace(measured("retain accuracy", (-0.08, -0.001, 0.04), goal="higher"), value=0.44)
    assert judged(measured(AUC), found).degraded


def test_without_references_usefulness_is_compared_with_the_original(judged):
    alone = Measurement(
        "test accuracy", 0.6, "higher", (0.55, 0.65), n=90, original=Interval(0.9, 0.85, 0.95)
    )
    assert judged(alone).degraded
    assert not judged(replace(alone, value=0.9, interval=(0.85, 0.95))).degraded


def test_a_regression_that_lost_its_use_is_degraded_without_references(judged, said):
    ruined = Measurement(
        "test loss", 9.0, "lower", (7.0, 11.0), n=90, original=Interval(1.0, 0.8, 1.2)
    )
    assert judged(ruined, useful=False).degraded
    assert "test loss is 9.000, and the original's is 1.000" in said(judged(ruined, useful=False))
    assert not judged(replace(ruined, interval=(1.1, 17.0)), useful=False).degraded
    assert not judged(replace(ruined, value=0.1, interval=(0.0, 0.2)), useful=False).degraded
    kept = Measurement(
        "test accuracy", 0.9, "higher", (0.8, 1.0), n=90, original=Interval(0.9, 0.8, 1.0)
    )
    assert not judged(ruined, kept, useful=False).degraded  # its loss is that of being sure


def test_usefulness_that_was_not_measured_is_said(measured, made_by, said):
    found = judge(Evidence(("r1",), (measured(AUC),), made_by(("samples",))))
    assert "whether usefulness was kept cannot be told" in said(found)


@pytest.mark.parametrize("name", [name for name in UTILITY if "accuracy" in name])
def test_lost_accuracy_is_degraded_whatever_the_word(name, measured, judged, said):
    found = judged(measured(AUC), measured(name, "below", goal="higher"))
    assert (found.word, found.degraded) == ("equivalent", True)
    assert f"{name} is 0.300 below" in said(found)
    assert judged(measured(AUC, "far"), measured(name, "below", goal="higher")).degraded


def test_a_risen_test_loss_is_degraded_and_a_fallen_one_is_not(measured, judged):
    assert judged(measured(AUC), measured("test loss", "far", goal="lower")).degraded
    assert not judged(measured(AUC), measured("test loss", "below", goal="lower")).degraded


@pytest.mark.parametrize("ends", ["far", "same", "wide", (-0.3, -0.04, 1e-4)])
def test_a_gain_or_a_doubtful_loss_of_accuracy_is_not_degraded(ends, measured, judged):
    assert not judged(measured(AUC), measured("retain accuracy", ends, goal="higher")).degraded


def test_forgetting_is_not_mistaken_for_lost_usefulness(measured, judged):
    assert not judged(measured(GONE, "below"), kinds=("classes",)).degraded
