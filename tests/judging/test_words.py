"""Equivalent, residual, inconclusive: every branch of the word, and its reasons."""

from dataclasses import replace

import pytest

from expunge.auditing import Evidence
from expunge.judging import PRIMARY, UTILITY, judge
from expunge.metric import Measurement

AUC = "membership AUC, threshold (loss)"
GONE = "test accuracy, removed classes"
BEHIND = "relearning steps, removed classes"


@pytest.mark.parametrize(("kind", "name"), [("samples", AUC), ("classes", GONE)])
def test_equivalent_needs_the_interval_inside_and_the_original_outside(
    kind, name, measured, judged, said
):
    found = judged(measured(name), measured(BEHIND), kinds=(kind,))
    assert (found.word, found.degraded) == ("equivalent", False)
    assert "-0.010 to +0.010" in said(found)
    assert "±0.05" in said(found)


@pytest.mark.parametrize("ends", ["far", "below"])
@pytest.mark.parametrize("kind", ["samples", "classes"])
def test_a_clear_difference_is_residual_on_either_side(ends, kind, measured, judged, said):
    found = judged(measured(PRIMARY[kind], ends), kinds=(kind,))
    assert found.word == "residual"
    assert ("0.300 above" if ends == "far" else "0.300 below") in said(found)
    assert "p < 0.001 after Holm" in said(found)


def test_a_difference_that_is_significant_but_within_the_margin_does_not_matter(measured, judged):
    assert judged(measured(AUC, (0.01, 0.03, 1e-6))).word == "equivalent"


def test_a_difference_is_residual_even_if_the_original_was_not_caught(measured, judged):
    assert judged(measured(AUC, "far", control="wide")).word == "residual"


@pytest.mark.parametrize("control", ["wide", "same", (0.04, 0.3, 1e-3), None])
def test_without_power_passing_means_nothing(control, measured, judged, said):
    found = judged(measured(AUC, control=control))
    assert found.word == "inconclusive"
    assert AUC in said(found)
    if control is None:
        assert "its power is not known" in said(found)
    else:
        assert "even the original" in said(found)


@pytest.mark.parametrize("ends", ["wide", (-0.049, 0.051, 0.9), (-0.051, 0.049, 0.9)])
def test_an_interval_that_reaches_over_the_margin_is_inconclusive(ends, measured, judged, said):
    found = judged(measured(AUC, ends))
    assert found.word == "inconclusive"
    assert "40 samples are too few" in said(found)


def test_an_interval_that_just_fits_the_margin_is_inside(measured, judged):
    assert judged(measured(AUC, (-0.05, 0.05, 1.0))).word == "equivalent"


def test_an_original_that_only_touches_the_margin_was_not_caught(measured, judged):
    assert judged(measured(AUC, control=(0.05, 0.4, 1e-6))).word == "inconclusive"


def test_an_original_that_is_clearly_below_was_caught(measured, judged):
    assert judged(measured(AUC, control="below")).word == "equivalent"


def test_without_references_there_is_nothing_to_compare_with(measured, judged, said):
    found = judged(measured(AUC, None, control=None, selftest=None))
    assert found.word == "inconclusive"
    assert "0.530" in said(found)
    assert "no model was retrained" in said(found)


def test_a_single_sample_leaves_no_way_to_tell(judged, said):
    alone = Measurement(AUC, 0.9, "match", (0.1, 1.0), n=1, target=(0.5, 0.5, 0.5))
    found = judged(alone)
    assert found.word == "inconclusive"
    assert "one sample is too few" in said(found)


def test_without_a_self_test_nothing_is_equivalent(measured, judged):
    assert judged(measured(AUC, selftest=None)).word == "inconclusive"


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_references_are_never_enough_for_equivalence(count, measured, judged, said):
    few = replace(measured(AUC, selftest=None), target=(0.5,) * count)
    found = judged(few)
    assert found.word == "inconclusive"
    assert f"too few models were retrained ({count})" in said(found)


def test_too_few_references_may_still_find_what_is_left(measured, judged):
    few = replace(measured(AUC, "far", selftest=None), target=(0.5, 0.51))
    assert judged(few).word == "residual"


def test_references_that_differ_among_themselves_are_named_as_the_cause(measured, judged, said):
    wide = measured(AUC, "wide", limit="models")
    assert "retrain more of them" in said(judged(wide))


def test_what_was_not_measured_says_why(judged, said):
    found = judged(Measurement.missing(AUC, "the test set is empty"))
    assert found.word == "inconclusive"
    assert "not measured: the test set is empty" in said(found)


def test_an_audit_without_the_deciding_measurement_is_inconclusive(measured, judged, said):
    found = judged(measured("AUS"), kinds=("classes",))
    assert found.word == "inconclusive"
    assert "not part of this audit" in said(found)


def test_evidence_that_asks_about_nothing_acquits_nobody(judged, said):
    found = judged(kinds=())
    assert found.word == "inconclusive"
    assert "nothing that was to be forgotten" in said(found)


@pytest.mark.parametrize("after", ["same", "far"])
def test_an_audit_that_flags_a_retrained_model_cannot_speak(after, measured, judged, said):
    found = judged(measured(AUC, after, selftest=(0.2, 0.4, 0.001)))
    assert found.word == "inconclusive"
    assert "even a retrained model" in said(found)
    assert "+0.200 to +0.400" in said(found)


@pytest.mark.parametrize("selftest", [(0.2, 0.4, 0.02), (0.01, 0.03, 1e-9)])
def test_an_unlucky_self_test_does_not_stop_the_audit(selftest, measured, judged):
    assert judged(measured(AUC, selftest=selftest)).word == "equivalent"


def test_other_measurements_describe_and_do_not_decide(measured, judged):
    others = [measured(name, "far") for name in ("forget accuracy", "AUS", "cost")]
    found = judged(measured(AUC), *others)
    assert (found.word, found.degraded) == ("equivalent", False)


@pytest.mark.parametrize("tier", ["smoke", "standard", "strict"])
def test_the_verdict_says_how_much_was_spent(tier, measured, judged):
    assert judged(measured(AUC), tier=tier).tier == tier


@pytest.mark.parametrize("after", ["same", "far"])
def test_references_that_are_one_model_decide_nothing(after, measured, made_by, said):
    kept = measured("retain accuracy", goal="higher")

    def found(models):
        digests = {f"reference {seed}": model for seed, model in enumerate(models)}
        made = replace(made_by(("samples",)), digests=digests)
        return judge(Evidence(("r1",), (measured(AUC, after), kept), made))

    assert found("abc").word == {"same": "equivalent", "far": "residual"}[after]
    assert found("aba").word == "inconclusive"
    assert "references 0, 2 are one model" in said(found("aba"))


EVERY_BRANCH = (
    lambda _: (),
    lambda of: (of(AUC),),
    lambda of: (of(AUC, "far"),),
    lambda of: (of(AUC, "wide"),),
    lambda of: (of(AUC, control="wide"),),
    lambda of: (of(AUC, control=None),),
    lambda of: (of(AUC, selftest="far"),),
    lambda of: (of(AUC, None, control=None),),
    lambda _: (Measurement.missing(AUC, "nobody asked"),),
    lambda of: (of(AUC), of("retain accuracy", "below", goal="higher")),
)


@pytest.mark.parametrize("branch", EVERY_BRANCH)
def test_every_reason_names_a_measurement_and_is_more_than_a_word(branch, measured, judged):
    found = judged(*branch(measured))
    assert found.reasons
    for reason in found.reasons:
        assert any(name in reason for name in (AUC, *UTILITY))
        assert len(reason.split()) >= 6
        assert "nan" not in reason
        assert "None" not in reason
