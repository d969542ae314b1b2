"""A class that is only hidden passes on its answers, so something must look behind them."""

from dataclasses import replace

import pytest

from expunge.algebra.statistics import Interval
from expunge.metric import Measurement

GONE = "test accuracy, removed classes"
RELEARNING, PROBE = "relearning steps, removed classes", "class-probe AUC"
SILENCED = "silenced answer (log odds), removed classes"
CLASSES = ("classes",)


def test_answers_alone_never_make_a_class_equivalent(measured, judged, said):
    found = judged(measured(GONE), kinds=CLASSES)
    assert found.word == "inconclusive"
    assert "only hidden passes on its answers" in said(found)
    assert f"{RELEARNING}: not measured" in said(found)
    assert f"{PROBE}: not measured" in said(found)


@pytest.mark.parametrize("behind", [RELEARNING, PROBE, SILENCED])
def test_what_lies_behind_the_answers_needs_one_witness(behind, measured, judged, said):
    found = judged(measured(GONE), measured(behind), kinds=CLASSES)
    assert found.word == "equivalent"
    assert "had no part in it" in said(found)


@pytest.mark.parametrize("behind", [RELEARNING, PROBE, SILENCED])
def test_a_class_that_is_hidden_is_residual_by_one_witness(behind, measured, judged):
    others = map(measured, {RELEARNING, PROBE, SILENCED} - {behind})
    found = judged(measured(GONE), measured(behind, "below"), *others, kinds=CLASSES)
    assert found.word == "residual"
    assert found.reasons[0].startswith(behind)


def test_a_witness_that_would_not_have_caught_the_original_is_none(measured, judged, said):
    blind = measured(PROBE, "wide", control="wide")
    alone = judged(measured(GONE), blind, kinds=CLASSES)
    assert alone.word == "inconclusive"
    assert "even the original" in said(alone)
    beside = judged(measured(GONE), blind, measured(RELEARNING), kinds=CLASSES)
    assert beside.word == "equivalent"
    assert f"this had no part in it: {PROBE}" in said(beside)


def test_every_witness_that_would_have_caught_the_original_must_pass(measured, judged, said):
    found = judged(measured(GONE), measured(PROBE, "wide"), measured(RELEARNING), kinds=CLASSES)
    assert found.word == "inconclusive"
    assert said(found).startswith(PROBE)


def test_without_unseen_samples_of_the_class_nothing_is_equivalent(measured, judged, said):
    gone = Measurement.missing(GONE, "the test set has no sample of the removed classes (2,)")
    found = judged(gone, measured(PROBE), measured(RELEARNING), kinds=CLASSES)
    assert found.word == "inconclusive"
    assert "no sample of the removed classes" in said(found)


def test_a_model_that_is_too_good_on_unseen_samples_makes_no_pass(measured, judged, said):
    kept = "test accuracy, kept classes"
    usual = replace(measured(kept, goal="higher"), original=Interval(0.5, 0.45, 0.55))
    better = replace(usual, value=0.7, interval=(0.65, 0.75))
    found = judged(measured(GONE), measured(RELEARNING), better, kinds=CLASSES)
    assert found.word == "inconclusive"
    assert "was it trained on the test set?" in said(found)
    little = replace(better, value=0.56, interval=(0.56, 0.75))  # the best reference has .52
    known = replace(better, original=Interval(0.7, 0.6, 0.8))
    for each in (usual, little, known):
        assert judged(measured(GONE), measured(RELEARNING), each, kinds=CLASSES).word != found.word
