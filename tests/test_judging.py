"""Every branch of the verdict, on evidence that is made by hand."""

from dataclasses import replace

import pytest

from expunge.algebra.statistics import Interval
from expunge.auditing import Evidence, Provenance
from expunge.judging import PRIMARY, UTILITY, judge
from expunge.metric import Comparison, Measurement

AUC = "membership AUC, threshold (loss)"
GONE = "test accuracy, removed classes"
AUC_OF_ONE = f"{AUC}, request r1"  # where another request stands beside it
LABELS = {"classes": {"labels": [2]}}

SAME = (-0.01, 0.01, 0.9)
FAR = (0.2, 0.4, 1e-9)
BELOW = (-0.4, -0.2, 1e-9)
WIDE = (-0.2, 0.2, 0.8)


def compared(ends, margin=0.05, limit="samples"):
    if ends is None:
        return None
    low, high, p = ends
    return Comparison(Interval((low + high) / 2, low, high), p, margin, limit)


def measured(name, after=SAME, *, control=FAR, selftest=SAME, goal="match", n=40):
    target = () if after is None else (0.5, 0.51, 0.52)
    return Measurement(
        name,
        0.53,
        goal,
        (0.5, 0.56),
        n=n,
        target=target,
        comparison=compared(after),
        control=compared(control),
        selftest=compared(selftest),
    )


USEFUL = measured("retain accuracy", goal="higher")


def made_by(kinds, tier="standard"):
    return Provenance(
        kind=kinds[0] if len(kinds) == 1 else "mixed",
        targets=tuple({"kind": kind, **LABELS.get(kind, {})} for kind in kinds),
        counts={"forget": 40},
        tier=tier,
        method="neggrad",
        settings={},
        seed=0,
        seconds=1.0,
        notes=(),
        traces={},
        digests={},
        reference_seeds=(0, 1, 2),
        versions={},
        machine="a machine",
        audit_seconds=1.0,
    )


def judged(*measurements, kinds=("samples",), tier="standard"):
    names = tuple(f"r{place}" for place, _ in enumerate(kinds, start=1))
    return judge(Evidence(names, (*measurements, USEFUL), made_by(kinds, tier)))


def said(verdict):
    return "\n".join(verdict.reasons)


@pytest.mark.parametrize(("kind", "name"), [("samples", AUC), ("classes", GONE)])
def test_equivalent_needs_the_interval_inside_and_the_original_outside(kind, name):
    found = judged(measured(name), kinds=(kind,))
    assert (found.word, found.degraded) == ("equivalent", False)
    assert "-0.010 to +0.010" in said(found)
    assert "±0.05" in said(found)


@pytest.mark.parametrize("ends", [FAR, BELOW])
@pytest.mark.parametrize("kind", ["samples", "classes"])
def test_a_clear_difference_is_residual_on_either_side(ends, kind):
    found = judged(measured(PRIMARY[kind], ends), kinds=(kind,))
    assert found.word == "residual"
    assert ("0.300 above" if ends is FAR else "0.300 below") in said(found)
    assert "p < 0.001 after Holm" in said(found)


def test_a_difference_that_is_significant_but_within_the_margin_does_not_matter():
    assert judged(measured(AUC, (0.01, 0.03, 1e-6))).word == "equivalent"


def test_a_difference_is_residual_even_if_the_original_was_not_caught():
    assert judged(measured(AUC, FAR, control=WIDE)).word == "residual"


@pytest.mark.parametrize("control", [WIDE, SAME, (0.04, 0.3, 1e-3), None])
def test_without_power_passing_means_nothing(control):
    found = judged(measured(AUC, control=control))
    assert found.word == "inconclusive"
    assert AUC in said(found)
    if control is None:
        assert "its power is not known" in said(found)
    else:
        assert "even the original" in said(found)


@pytest.mark.parametrize("ends", [WIDE, (-0.049, 0.051, 0.9), (-0.051, 0.049, 0.9)])
def test_an_interval_that_reaches_over_the_margin_is_inconclusive(ends):
    found = judged(measured(AUC, ends))
    assert found.word == "inconclusive"
    assert "40 samples are too few" in said(found)


def test_an_interval_that_just_fits_the_margin_is_inside():
    assert judged(measured(AUC, (-0.05, 0.05, 1.0))).word == "equivalent"


def test_an_original_that_only_touches_the_margin_was_not_caught():
    assert judged(measured(AUC, control=(0.05, 0.4, 1e-6))).word == "inconclusive"


def test_an_original_that_is_clearly_below_was_caught():
    assert judged(measured(AUC, control=BELOW)).word == "equivalent"


def test_without_references_there_is_nothing_to_compare_with():
    found = judged(measured(AUC, None, control=None, selftest=None))
    assert found.word == "inconclusive"
    assert "0.530" in said(found)
    assert "no model was retrained" in said(found)


def test_a_single_sample_leaves_no_way_to_tell():
    alone = Measurement(AUC, 0.9, "match", (0.1, 1.0), n=1, target=(0.5, 0.5, 0.5))
    found = judged(alone)
    assert found.word == "inconclusive"
    assert "one sample is too few" in said(found)


def test_without_a_self_test_nothing_is_equivalent():
    assert judged(measured(AUC, selftest=None)).word == "inconclusive"


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_references_are_never_enough_for_equivalence(count):
    few = replace(measured(AUC, selftest=None), target=(0.5,) * count)
    found = judged(few)
    assert found.word == "inconclusive"
    assert f"too few models were retrained ({count})" in said(found)


def test_references_that_differ_among_themselves_are_named_as_the_cause():
    wide = replace(measured(AUC), comparison=compared(WIDE, limit="models"))
    assert "retrain more of them" in said(judged(wide))


def test_a_finding_is_not_hidden_by_what_was_not_measured():
    missing = Measurement.missing(GONE, "the test set lacks it")
    found = judged(measured(AUC_OF_ONE, FAR), missing, kinds=("samples", "classes"))
    assert found.word == "residual"
    assert (
        judged(measured(AUC_OF_ONE), missing, kinds=("samples", "classes")).word == "inconclusive"
    )


@pytest.mark.parametrize(("stayed", "word"), [(SAME, "equivalent"), (FAR, "residual")])
def test_every_request_decides_for_itself(stayed, word):
    gone, kept = measured(AUC_OF_ONE), measured(f"{AUC}, request r2", stayed)
    pooled = measured(AUC)
    assert judged(pooled, gone, kept, kinds=("samples", "samples")).word == word
    assert judged(pooled, gone, kinds=("samples", "samples")).word == "inconclusive"


def test_every_removed_class_decides_for_itself():
    both = {"kind": "classes", "labels": [1, 2]}
    made = replace(made_by(("classes",)), targets=(both,))
    of = [measured(f"test accuracy, removed class {k}", ends) for k, ends in ((1, SAME), (2, FAR))]
    assert judge(Evidence(("r1",), (measured(GONE), *of, USEFUL), made)).word == "residual"
    assert judge(Evidence(("r1",), (measured(GONE), USEFUL), made)).word == "inconclusive"


def test_a_drop_below_every_reference_is_degraded_where_chance_does_not_explain_it():
    found = replace(measured("retain accuracy", (-0.08, -0.001, 0.04), goal="higher"), value=0.44)
    assert judged(measured(AUC), found).degraded


def test_without_references_usefulness_is_compared_with_the_original():
    alone = Measurement(
        "test accuracy", 0.6, "higher", (0.55, 0.65), n=90, original=Interval(0.9, 0.85, 0.95)
    )
    assert judged(alone).degraded
    assert not judged(replace(alone, value=0.9, interval=(0.85, 0.95))).degraded


def test_usefulness_that_was_not_measured_is_said():
    found = judge(Evidence(("r1",), (measured(AUC),), made_by(("samples",))))
    assert "whether usefulness was kept cannot be told" in said(found)


def test_what_was_not_measured_says_why():
    found = judged(Measurement.missing(AUC, "the test set is empty"))
    assert found.word == "inconclusive"
    assert "not measured: the test set is empty" in said(found)


def test_an_audit_without_the_deciding_measurement_is_inconclusive():
    found = judged(measured("AUS"), kinds=("classes",))
    assert found.word == "inconclusive"
    assert "not part of this audit" in said(found)


@pytest.mark.parametrize("after", [SAME, FAR])
def test_an_audit_that_flags_a_retrained_model_cannot_speak(after):
    found = judged(measured(AUC, after, selftest=(0.2, 0.4, 0.001)))
    assert found.word == "inconclusive"
    assert "even a retrained model" in said(found)
    assert "+0.200 to +0.400" in said(found)


@pytest.mark.parametrize("selftest", [(0.2, 0.4, 0.02), (0.01, 0.03, 1e-9)])
def test_an_unlucky_self_test_does_not_stop_the_audit(selftest):
    assert judged(measured(AUC, selftest=selftest)).word == "equivalent"


def test_holm_makes_two_near_misses_of_a_mixed_request_no_finding():
    near = (0.001, 0.3, 0.03)
    found = judged(measured(AUC_OF_ONE, near), measured(GONE, near), kinds=("samples", "classes"))
    assert found.word == "inconclusive"
    assert judged(measured(AUC, near)).word == "residual"


def test_one_of_two_deciding_measurements_is_enough_to_be_residual():
    found = judged(
        measured(AUC_OF_ONE), measured(GONE, (0.1, 0.3, 0.02)), kinds=("samples", "classes")
    )
    assert found.word == "residual"
    assert "p = 0.04 after Holm" in said(found)
    assert AUC not in said(found)


def test_a_mixed_request_is_equivalent_only_when_both_are():
    assert (
        judged(measured(AUC_OF_ONE), measured(GONE), kinds=("samples", "classes")).word
        == "equivalent"
    )
    half = judged(measured(AUC_OF_ONE), measured(GONE, WIDE), kinds=("samples", "classes"))
    assert half.word == "inconclusive"
    assert judged(measured(AUC_OF_ONE), kinds=("samples", "classes")).word == "inconclusive"


def test_nothing_decides_about_an_attribute_yet():
    found = judged(measured(AUC), kinds=("attribute",))
    assert found.word == "inconclusive"
    assert "decides about an attribute" in said(found)
    also = judged(measured(AUC_OF_ONE), kinds=("samples", "attribute"))
    assert also.word == "inconclusive"
    assert judged(measured(AUC_OF_ONE, FAR), kinds=("samples", "attribute")).word == "residual"


def test_other_measurements_describe_and_do_not_decide():
    others = [measured(name, FAR) for name in ("forget accuracy", "AUS", "cost")]
    found = judged(measured(AUC), *others)
    assert (found.word, found.degraded) == ("equivalent", False)


@pytest.mark.parametrize("name", [name for name in UTILITY if "accuracy" in name])
def test_lost_accuracy_is_degraded_whatever_the_word(name):
    found = judged(measured(AUC), measured(name, BELOW, goal="higher"))
    assert (found.word, found.degraded) == ("equivalent", True)
    assert f"{name} is 0.300 below" in said(found)
    assert judged(measured(AUC, FAR), measured(name, BELOW, goal="higher")).degraded


def test_a_risen_test_loss_is_degraded_and_a_fallen_one_is_not():
    assert judged(measured(AUC), measured("test loss", FAR, goal="lower")).degraded
    assert not judged(measured(AUC), measured("test loss", BELOW, goal="lower")).degraded


@pytest.mark.parametrize("ends", [FAR, SAME, WIDE, (-0.3, -0.04, 1e-4)])
def test_a_gain_or_a_doubtful_loss_of_accuracy_is_not_degraded(ends):
    assert not judged(measured(AUC), measured("retain accuracy", ends, goal="higher")).degraded


def test_forgetting_is_not_mistaken_for_lost_usefulness():
    assert not judged(measured(GONE, BELOW), kinds=("classes",)).degraded


@pytest.mark.parametrize("tier", ["smoke", "standard", "strict"])
def test_the_verdict_says_how_much_was_spent(tier):
    assert judged(measured(AUC), tier=tier).tier == tier


EVERY_BRANCH = (
    (measured(AUC),),
    (measured(AUC, FAR),),
    (measured(AUC, WIDE),),
    (measured(AUC, control=WIDE),),
    (measured(AUC, control=None),),
    (measured(AUC, selftest=FAR),),
    (measured(AUC, None, control=None),),
    (Measurement.missing(AUC, "nobody asked"),),
    (),
    (measured(AUC), measured("retain accuracy", BELOW, goal="higher")),
)


@pytest.mark.parametrize("measurements", EVERY_BRANCH)
def test_every_reason_names_a_measurement_and_is_more_than_a_word(measurements):
    found = judged(*measurements)
    assert found.reasons
    for reason in found.reasons:
        assert any(name in reason for name in (AUC, *UTILITY))
        assert len(reason.split()) >= 6
        assert "nan" not in reason
        assert "None" not in reason
