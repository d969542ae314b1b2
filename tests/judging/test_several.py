"""Where much was asked, every request, class and kind decides for itself."""

from dataclasses import replace

import pytest

from expunge.auditing import Evidence
from expunge.judging import judge
from expunge.metric import Measurement

AUC = "membership AUC, threshold (loss)"
GONE = "test accuracy, removed classes"
BEHIND = "relearning steps"
AUC_OF_ONE = f"{AUC}, request r1"  # where another request stands beside it


def test_a_finding_is_not_hidden_by_what_was_not_measured(measured, judged):
    missing = Measurement.missing(GONE, "the test set lacks it")
    found = judged(measured(AUC_OF_ONE, "far"), missing, kinds=("samples", "classes"))
    assert found.word == "residual"
    assert (
        judged(measured(AUC_OF_ONE), missing, kinds=("samples", "classes")).word == "inconclusive"
    )


@pytest.mark.parametrize(("stayed", "word"), [("same", "equivalent"), ("far", "residual")])
def test_every_request_decides_for_itself(stayed, word, measured, judged):
    gone, kept = measured(AUC_OF_ONE), measured(f"{AUC}, request r2", stayed)
    pooled = measured(AUC)
    assert judged(pooled, gone, kept, kinds=("samples", "samples")).word == word
    assert judged(pooled, gone, kinds=("samples", "samples")).word == "inconclusive"


def test_every_removed_class_decides_for_itself(measured, made_by):
    both = {"kind": "classes", "labels": [1, 2]}
    made = replace(made_by(("classes",)), targets=(both,))
    pooled, useful = measured(GONE), measured("retain accuracy", goal="higher")
    each = [
        measured(f"test accuracy, removed class {k}", ends) for k, ends in ((1, "same"), (2, "far"))
    ]
    assert judge(Evidence(("r1",), (pooled, *each, useful), made)).word == "residual"
    assert judge(Evidence(("r1",), (pooled, useful), made)).word == "inconclusive"


def test_holm_makes_two_near_misses_of_a_mixed_request_no_finding(measured, judged):
    near = (0.001, 0.3, 0.03)
    found = judged(measured(AUC_OF_ONE, near), measured(GONE, near), kinds=("samples", "classes"))
    assert found.word == "inconclusive"
    assert judged(measured(AUC, near)).word == "residual"


def test_one_of_two_deciding_measurements_is_enough_to_be_residual(measured, judged, said):
    found = judged(
        measured(AUC_OF_ONE), measured(GONE, (0.1, 0.3, 0.01)), kinds=("samples", "classes")
    )
    assert found.word == "residual"
    assert "p = 0.04 after Holm" in said(found)  # of four: relearning and the probe are silent
    assert AUC not in said(found)


def test_a_mixed_request_is_equivalent_only_when_both_are(measured, judged):
    both, behind = ("samples", "classes"), measured(BEHIND)
    assert judged(measured(AUC_OF_ONE), measured(GONE), behind, kinds=both).word == "equivalent"
    half = judged(measured(AUC_OF_ONE), measured(GONE, "wide"), behind, kinds=both)
    assert half.word == "inconclusive"
    assert judged(measured(AUC_OF_ONE), behind, kinds=both).word == "inconclusive"


def test_an_attribute_decides_beside_samples(measured, lingering, judged):
    both, nothing = ("samples", "attribute"), lingering("nothing")
    assert judged(measured(AUC_OF_ONE), kinds=both).word == "inconclusive"
    assert judged(measured(AUC_OF_ONE, "far"), kinds=both).word == "residual"
    assert judged(measured(AUC_OF_ONE), *nothing, kinds=both).word == "equivalent"
    assert judged(measured(AUC_OF_ONE, "wide"), *nothing, kinds=both).word == "inconclusive"
    assert judged(measured(AUC_OF_ONE), *lingering("much"), kinds=both).word == "residual"
