"""An attribute is gone when what is left of it lies wholly below a declared floor."""

from dataclasses import replace

import pytest

from expunge.metric import Measurement
from expunge.vetting import SEEN, UNLIKE

ATTRIBUTE = ("attribute",)
LEAKS = "conditional leakage (bits), sex"
RETURNS = "re-attack above an untrained model (bits), sex"


def test_nothing_left_below_the_floor_is_equivalent_where_the_original_told(
    lingering, judged, said
):
    found = judged(*lingering(), kinds=ATTRIBUTE)
    assert (found.word, found.degraded) == ("equivalent", False)
    assert "-0.020 to +0.008" in said(found)
    assert "wholly below the floor of 0.01 bits" in said(found)
    assert "probes of other families" in said(found)
    assert "more may come back" in said(found)


@pytest.mark.parametrize(
    ("left", "name"), [(("much", "nothing"), LEAKS), (("nothing", "much"), RETURNS)]
)
def test_what_lies_wholly_above_the_floor_is_residual(left, name, lingering, judged):
    found = judged(*lingering(*left), kinds=ATTRIBUTE)
    assert found.word == "residual"
    (reason,) = found.reasons
    assert reason.startswith(name)
    assert judged(*lingering(*left, original=(0.0, 0.3)), kinds=ATTRIBUTE).word == "residual"


@pytest.mark.parametrize("left", [("little", "nothing"), ("nothing", "little")])
def test_an_interval_across_the_floor_is_inconclusive(left, lingering, judged, said):
    found = judged(*lingering(*left), kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert "90 samples are too few" in said(found)


@pytest.mark.parametrize("which", ["original", "attacked"])
@pytest.mark.parametrize("bits", [None, (0.05, 0.4), (-0.1, 0.3)])
def test_where_the_original_does_not_tell_for_sure_passing_means_nothing(
    which, bits, lingering, judged, said
):
    found = judged(*lingering(**{which: bits}), kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert ("not known" if bits is None else "even of the original") in said(found)


def test_a_re_attack_that_no_network_resists_could_not_have_told(lingering, judged, said):
    found = judged(*lingering(attacked=(-0.525, -0.389)), kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert RETURNS in said(found)
    assert "-0.525 to -0.389" in said(found)
    assert "could not have told: a network that was never trained" in said(found)
    assert f"what is known: {LEAKS} went from 0.250 to -0.006" in said(found)
    assert "wholly below" not in said(found)


def test_what_lies_behind_layers_that_are_as_they_were_is_said_to_be_hidden(
    lingering, judged, said
):
    told = "3 of 4 layers before the features say what the original's say"
    found = judged(*lingering("nothing", "much", stays=0.75), kinds=ATTRIBUTE)
    assert found.word == "residual"
    assert f"{told}: it is hidden there, and not erased" in said(found)
    found = judged(*lingering(attacked=(-0.1, 0.01), stays=0.75), kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert f"{told}: it may be hidden there" in said(found)
    assert told in said(judged(*lingering(stays=0.75), kinds=ATTRIBUTE))
    assert "layers before" not in said(judged(*lingering("much", "much"), kinds=ATTRIBUTE))


@pytest.mark.parametrize("leaks", ["nothing", "much"])
def test_an_audit_that_finds_an_attribute_dealt_out_anew_cannot_speak(
    leaks, lingering, judged, said
):
    found = judged(*lingering(leaks, chance="much"), kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert "even an attribute that was handed out anew" in said(found)


@pytest.mark.parametrize("absent", [0, 1])
def test_what_was_not_measured_is_not_gone(absent, lingering, judged, said):
    some = [*lingering()]
    gone = some[absent]
    some[absent] = Measurement.missing(gone.name, "nobody asked")
    assert judged(*some, kinds=ATTRIBUTE).word == "inconclusive"
    assert "nobody asked" in said(judged(*some, kinds=ATTRIBUTE))
    some[absent] = replace(gone, floor=None)
    assert "declares no floor" in said(judged(*some, kinds=ATTRIBUTE))
    del some[absent]
    assert "not part of this audit" in said(judged(*some, kinds=ATTRIBUTE))


@pytest.mark.parametrize("left", ["nothing", "much"])
def test_without_an_attribute_dealt_out_anew_nobody_knows_whether_the_audit_is_fair(
    left, lingering, judged, said
):
    *some, _, _ = lingering(left)
    found = judged(*some, kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert "permuted attribute (bits), sex, not measured" in said(found)


def test_lost_accuracy_is_degraded_without_references(lingering, judged):
    before = lingering()[0].original
    useful = Measurement(
        "test accuracy", 0.01, "higher", (0.0, 0.02), n=90, original=replace(before, low=0.2)
    )
    assert judged(*lingering(), useful, kinds=ATTRIBUTE).degraded


@pytest.mark.parametrize(
    ("doubt", "why"),
    [
        (Measurement(SEEN, 0.4, "lower", n=90, floor=0.1), "40% of the held-out samples"),
        (
            Measurement(UNLIKE, -0.3, interval=(-0.4, -0.2), n=90, floor=0.05, note="50% and 80%"),
            "unlike test samples: in accuracy 50% and 80%",
        ),
    ],
    ids=["trained on", "shown otherwise"],
)
def test_held_out_samples_that_are_not_what_they_should_be_make_no_pass(
    doubt, why, lingering, judged, said
):
    found = judged(*lingering(), doubt, kinds=ATTRIBUTE)
    assert found.word == "inconclusive"
    assert why in said(found)
    assert judged(*lingering("much"), doubt, kinds=ATTRIBUTE).word == "residual"
    little = replace(doubt, value=0.0, interval=(-0.4, 0.2) if doubt.interval else None)
    assert judged(*lingering(), little, kinds=ATTRIBUTE).word == "equivalent"
