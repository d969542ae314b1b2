"""Samples: sharper attacks decide too, a rehearsal accuses, unfair comparisons are set aside."""

from dataclasses import replace

import pytest

from expunge.algebra.statistics import Interval
from expunge.metric import Comparison, Measurement

AUC, SHARPER = "membership AUC, threshold (loss)", "membership AUC, ulira (privacy)"


def blind(low, high, name="blind baseline AUC"):
    return Measurement(name, (low + high) / 2, "match", (low, high), n=40)


def rehearsed(p, *, original=1e-4, low=-0.1, high=0.1):
    """A rehearsal's p, of its pipeline and of the model that nobody unlearned."""

    def compared(chance):
        return Comparison(Interval((low + high) / 2, low, high), chance, 0.05)

    return Measurement(
        "rehearsal p", p, "higher", n=60, comparison=compared(p), control=compared(original)
    )


def known(scores, original=0.7, half=0.02):
    """What every reference scores, and where the original lies."""

    def change(m):
        interval = (m.value - half, m.value + half)
        return replace(m, value=m.value, interval=interval, target=scores,
                       original=Interval(original, original - half, original + half))  # fmt: skip

    return change


def test_an_attack_by_shadows_decides_beside_the_threshold(measured, judged, said):
    assert judged(measured(AUC), measured(SHARPER)).word == "equivalent"
    found = judged(measured(AUC), measured(SHARPER, "far"))
    assert found.word == "residual"
    assert SHARPER in said(found)
    assert judged(measured(AUC), measured(SHARPER, "wide")).word == "inconclusive"


def test_an_attack_by_shadows_has_power_where_the_threshold_has_none(measured, judged, said):
    found = judged(measured(AUC, control="wide"), measured(SHARPER))
    assert found.word == "equivalent"
    assert f"this had no part in it: {AUC}" in said(found)


def test_who_passes_without_shadow_models_is_told_what_was_not_asked(measured, judged, said):
    assert f"{AUC} stands alone" in said(judged(measured(AUC)))
    both = said(judged(measured(AUC), measured(SHARPER)))
    assert "stands alone" not in both
    assert "one threshold" not in both
    assert "stands alone" not in said(judged(measured(AUC, "far")))  # there is nothing to excuse


def test_why_there_are_no_shadow_models_is_told_to_every_request(measured, judged, said):
    each = (measured(f"{AUC}, request r{k}") for k in (1, 2))
    lack = Measurement.missing(SHARPER, "too few samples")
    found = judged(*each, lack, kinds=("samples", "samples"))
    assert found.word == "equivalent"
    assert f"this had no part in it: {SHARPER}: not measured: too few samples" in said(found)
    assert "stands alone" not in said(found)


@pytest.mark.parametrize("after", ["same", "far", "wide"])
def test_groups_that_differ_without_any_model_are_confounded(after, measured, judged, said):
    found = judged(measured(AUC, after), blind(0.52, 0.7))
    assert found.word == "inconclusive"
    assert "confounded and does not decide" in said(found)
    assert "0.520 to 0.700" in said(found)
    assert judged(measured(AUC, after), blind(0.45, 0.55)).word == judged(measured(AUC, after)).word


def test_who_passes_without_a_blind_baseline_is_told_so(measured, judged, said):
    assert "is confounded is not known" in said(judged(measured(AUC)))
    assert "is not known" not in said(judged(measured(AUC), blind(0.45, 0.55)))


def test_every_request_has_its_own_blind_baseline(measured, judged, said):
    one, two = (measured(f"{AUC}, request r{k}") for k in (1, 2))
    own = blind(0.6, 0.7, "blind baseline AUC, request r2")
    found = judged(one, two, own, blind(0.45, 0.55), kinds=("samples", "samples"))
    assert found.word == "inconclusive"
    assert "request r2 is confounded" in said(found)
    assert "request r1" not in said(found)


def test_classes_are_not_confounded_by_how_forgotten_samples_look(measured, judged):
    found = judged(
        measured("test accuracy, removed classes"), measured("class-probe AUC"), blind(0.9, 1.0),
        kinds=("classes",),
    )  # fmt: skip
    assert found.word == "equivalent"


def test_a_rehearsal_accuses(measured, judged, said):
    found = judged(measured(AUC), rehearsed(0.0001, low=0.2, high=0.4))
    assert found.word == "residual"
    assert "80% of the guesses were right" in said(found)


def test_a_rehearsal_is_corrected_for_what_else_was_asked(measured, judged):
    assert judged(measured(AUC), rehearsed(0.03, low=0.01, high=0.2)).word == "equivalent"
    assert judged(measured(AUC), rehearsed(0.02, low=0.01, high=0.2)).word == "residual"


def test_a_rehearsal_acquits_nobody(measured, judged, said):
    assert judged(measured(AUC, "wide"), rehearsed(0.7)).word == "inconclusive"
    assert judged(rehearsed(0.7)).word == "inconclusive"
    found = judged(measured(AUC), rehearsed(0.7))
    assert found.word == "equivalent"
    assert "accuses nobody" in said(found)
    blunt = judged(measured(AUC), rehearsed(0.7, original=0.4))
    assert "rehearsal p says nothing" in said(blunt)


def test_a_reference_that_knows_the_forget_set_is_noticed(measured, judged, said):
    odd = known((0.5, 0.51, 0.69, 0.49))(measured(AUC))
    found = judged(odd)
    assert found.word == "inconclusive"
    assert "reference 2 scores 0.690" in said(found)
    assert "trained on the forget set?" in said(found)
    assert "reference 2" in said(judged(known((0.5, 0.51, 0.69, 0.49))(measured(AUC, "far"))))


@pytest.mark.parametrize(
    "scores", [(0.5, 0.51, 0.53, 0.49), (0.45, 0.5, 0.55, 0.6), (0.5, 0.51, 0.3, 0.49)]
)
def test_references_that_differ_by_chance_are_not_suspected(scores, measured, judged):
    assert judged(known(scores, half=0.2)(measured(AUC))).word == "equivalent"


@pytest.mark.parametrize("scores", [(0.30, 0.31, 0.55), (0.62, 0.62, 0.9), (0.5, 0.5, 0.5, 0.95)])
def test_of_few_samples_no_reference_is_suspected_because_others_agree(scores, measured, judged):
    assert not any(
        "trained on" in why for why in judged(known(scores, half=0.3)(measured(AUC))).reasons
    )


def test_references_that_all_know_the_forget_set_leave_no_power_and_are_asked_about(
    measured, judged, said
):
    found = judged(known((0.68, 0.7, 0.69))(measured(AUC, control="same")))
    assert found.word == "inconclusive"
    assert "were they trained without them?" in said(found)
