"""The challenge's score, and what makes it one that can be read."""

import pytest
import torch

from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.challenge import Challenge
from expunge.observing import Snapshot

QUALITY, SCORE = "challenge forgetting quality", "challenge score"
RELATIVE, BOUND = "challenge quality relative to retraining", "challenge ε, lower bound"


def test_models_that_cannot_be_told_apart_get_few_points_and_all_there_are_to_get(crowd):
    found = crowd.measured(Challenge(), crowd.models(32, 0), crowd.models(32, 1))
    assert 0.03 < found[QUALITY].value < 0.4
    assert found[RELATIVE].value == pytest.approx(1, abs=0.4)
    assert found[BOUND].value == 0
    assert found[BOUND].target == (0,)
    assert found[QUALITY].n == crowd.gone


def test_models_far_apart_get_none(crowd):
    found = crowd.measured(Challenge(), crowd.models(20, 0), crowd.models(24, 1, shift=40.0))
    assert found[QUALITY].value == found[SCORE].value == found[RELATIVE].value == 0
    assert "above 0 for 100% of them" in found[BOUND].note
    can_show = float(found[BOUND].note.split("can show ")[1])
    assert found[BOUND].value == pytest.approx(can_show, abs=0.01)
    assert "20 models of either kind" in found[QUALITY].note


def duller(models, count):
    """The same margins on what left, and so many samples of the test set answered wrongly."""
    members = []
    for member in models.members:
        seen, test = member.snapshot, member.snapshot.test
        logits = test.logits.clone()
        logits[:] = torch.tensor([1.0, 0.0])
        logits[:count] = torch.tensor([0.0, 1.0])
        other = type(test)(test.ids, logits, test.labels)
        members.append(
            Reference(member.load, Snapshot(seen.forget, seen.retain, other), 0, 1.0, "")
        )
    return References(tuple(members))


def test_the_score_is_the_quality_times_what_is_kept_of_the_accuracy(crowd):
    theirs = duller(crowd.models(16, 0), 10)  # of fifty: 0.8 of them are right
    ours = duller(crowd.models(16, 1), 30)
    found = crowd.measured(Challenge(), theirs, ours)
    retain = [sum(s.retain.accuracy for s in each.snapshots) / 16 for each in (ours, theirs)]
    assert found[SCORE].value / found[QUALITY].value == pytest.approx(
        0.5 * retain[0] / retain[1], abs=1e-6
    )


def test_below_sixteen_models_of_a_kind_there_is_no_score(crowd):
    (found,) = Challenge().measure(crowd.trial(crowd.models(40, 0), crowd.models(15, 1)))
    assert (found.value, found.status) == (None, "insufficient")
    assert "15 repeated and 40 retrained models are too few" in found.note


def test_halves_that_get_no_points_among_themselves_are_said(crowd):
    found = crowd.measured(
        Challenge(fewest=4, splits=1), crowd.models(4, 0), crowd.models(4, 1, shift=9.0)
    )[RELATIVE]
    assert (found.value, found.status) == (None, "insufficient")


def test_without_repeats_or_without_anybody_who_left_there_is_none(crowd):
    with pytest.raises(MissingInput, match="nobody repeated"):
        list(Challenge().measure(crowd.trial(crowd.models(16, 0), None)))
    trial = crowd.trial(crowd.models(16, 0), crowd.models(16, 1))
    empty = trial.after.about(torch.tensor([-1]))
    nobody = Trial(trial.outcome, empty, empty, trial.references, trial.repeats)
    with pytest.raises(MissingInput, match="nobody left"):
        list(Challenge().measure(nobody))
