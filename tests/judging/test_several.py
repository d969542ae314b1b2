"""Where much was asked, every request, class and kind decides for itself."""

from dataclasses import replace

import pytest

from expunge.auditing import Evidence
from expunge.judging import judge
from expunge.metric import Measurement

AUC = "membership AUC, threshold (loss)"
GONE = "test accuracy, removed classes"
BEHIND = "relearning steps, removed classes"
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


@pytest.mark.parametrize(
    "which", ["test accuracy, removed class", "relearning steps, removed class"]
)
def test_every_removed_class_decides_for_itself(which, measured, made_by):
    both = {"kind": "classes", "labels": [1, 2]}
    made = replace(made_by(("classes",)), targets=(both,))
    pooled, useful = measured(GONE), measured("retain accuracy", goal="higher")

    def word(first, second, *more):
        names = ("test accuracy, removed class", "relearning steps, removed class")
        each = [
            measured(f"{name} {k}", ends if name == which else "same")
            for name in names
            for k, ends in ((1, first), (2, second))
            if ends
        ]
        return judge(Evidence(("r1",), (pooled, *each, useful, *more), made)).word

    assert word("same", "same") == "equivalent"
    assert word("same", "far") == "residual"
    assert word("same", None) == "inconclusive"


def test_one_probe_may_witness_for_all_removed_classes(measured, made_by):
    both = {"kind": "classes", "labels": [1, 2]}
    made = replace(made_by(("classes",)), targets=(both,))
    each = [measured(f"test accuracy, removed class {k}") for k in (1, 2)]
    found = judge(Evidence(("r1",), (*each, measured("class-probe AUC")), made))
    assert found.word == "equivalent"
    assert sum(reason.startswith("class-probe AUC") for reason in found.reasons) == 1


def test_holm_makes_two_near_misses_of_a_mixed_request_no_finding(measured, judged):
    near = (0.001, 0.3, 0.03)
    found = judged(measured(AUC_OF_ONE, near), measured(GONE, near), kinds=("samples", "classes"))
    assert found.word == "inconclusive"
    assert judged(measured(AUC, near)).word == "residual"


def test_one_of_two_deciding_measurements_is_enough_to_be_residual(measured, judged, said):
    found = judged(
        measured(AUC_OF_ONE), measured(GONE, (0.1, 0.3, 0.008)), kinds=("samples", "classes")
    )
    assert found.word == "residual"
    assert "p = 0.04 after Holm" in said(found)  # of five: three are silent
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
