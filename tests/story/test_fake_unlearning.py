"""What only looks like forgetting is caught: by training it again, or by what it lost."""

from copy import deepcopy

import pytest
import torch

from expunge import Classes, Outcome, Request, audit, judge, retrain, split
from expunge.faking import fakes
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.aus import Aus
from expunge.metrics.loss import Loss
from expunge.metrics.probe import Probe
from expunge.metrics.relearning import Relearning
from expunge.problems.digits import digits

GONE = "test accuracy, removed classes"
AGAIN = "relearning steps, removed classes"
METRICS = (Accuracy(), Aus(), Loss(), Probe(), Relearning(runs=2))


class World:
    """A trained network, a class that must go, and five networks that never saw it."""

    def __init__(self):
        self.problem = digits(epochs=20)
        self.model = self.problem.trained()
        # Nine tenths of a verdict on a class are how many test samples it has.
        self.split = split(self.problem.train, Request(Classes((3,))), test=self.problem.test)
        self.references = retrain(
            self.split, self.problem.recipe, task=self.problem.task, seeds=(1, 2, 3, 4, 5)
        )
        self.fakes = fakes(self.model, self.split, self.problem.task)

    def judged(self, after):
        outcome = Outcome.of(self.model, after, self.split, task=self.problem.task)
        evidence = audit(outcome, METRICS, references=self.references)
        return evidence, judge(evidence)


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def original(world):
    """What is found about a model that forgot nothing."""
    return world.judged(deepcopy(world.model))


@pytest.fixture(scope="module")
def mask(world):
    return world.judged(world.fakes["logit mask"])


def test_the_original_is_residual(original):
    evidence, verdict = original
    assert verdict.word == "residual"
    assert not verdict.degraded
    assert GONE in verdict.reasons[0]
    assert evidence.measurement(GONE).value > 0.9


def test_a_retrained_model_is_equivalent_and_not_degraded(world):
    (other,) = retrain(
        world.split, world.problem.recipe, task=world.problem.task, seeds=(11,)
    ).members
    evidence, verdict = world.judged(other.load())
    assert verdict.word == "equivalent"
    assert not verdict.degraded
    assert evidence.measurement(GONE).value == 0
    assert any(reason.startswith(AGAIN) for reason in verdict.reasons)


@pytest.mark.parametrize("fake", ["random head", "noise on all weights"])
def test_a_model_that_lost_everything_is_degraded(world, fake):
    _, verdict = world.judged(world.fakes[fake])
    assert verdict.degraded
    assert any("test accuracy, kept classes" in reason for reason in verdict.reasons)


def test_a_mask_over_one_logit_passes_on_answers_and_is_caught_behind_them(mask):
    evidence, verdict = mask
    assert evidence.measurement(GONE).value == 0
    assert verdict.word == "residual"
    assert not verdict.degraded
    (reason,) = verdict.reasons
    assert reason.startswith(AGAIN)
    assert "below the retrained models'" in reason


def test_without_a_look_behind_the_answers_a_mask_is_not_called_equivalent(world):
    outcome = Outcome.of(
        world.model, world.fakes["logit mask"], world.split, task=world.problem.task
    )
    verdict = judge(audit(outcome, [Accuracy(), Loss()], references=world.references))
    assert verdict.word == "inconclusive"
    assert "only hidden passes on its answers" in " ".join(verdict.reasons)


def test_a_mask_does_score_as_well_as_retraining_on_the_summary_that_it_fools(mask):
    evidence, _ = mask
    found = evidence.measurement("AUS")
    assert found.value == pytest.approx(sum(found.target) / 5, abs=0.02)
    assert "mask over logits" in found.note


def test_a_mask_can_be_taken_off_again(world):
    fake = deepcopy(world.fakes["logit mask"])
    with torch.no_grad():
        fake[-1].bias[3] = world.model[-1].bias[3]
    evidence, verdict = world.judged(fake)
    assert verdict.word == "residual"
    assert evidence.measurement(GONE).value > 0.9


def test_no_verdict_speaks_of_proof(original, mask):
    for _, verdict in (original, mask):
        assert not any(word in " ".join(verdict.reasons) for word in ("proof", "prove", "certif"))
