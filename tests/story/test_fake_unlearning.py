"""What an audit of a forgotten class catches today, and what it cannot see and says so."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from expunge import Classes, Outcome, Request, audit, judge, retrain, split
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.aus import Aus
from expunge.metrics.loss import Loss
from expunge.metrics.probe import Probe
from expunge.metrics.relearning import Relearning
from expunge.problems.digits import digits
from expunge.unlearning import seeded

METRICS = (Accuracy(), Loss(), Aus(), Probe(), Relearning(runs=3))
GONE = "test accuracy, removed classes"


class World:
    """A trained network, a class that must go, and five networks that never saw it."""

    def __init__(self):
        self.problem = digits(epochs=20)
        self.model = self.problem.trained()
        labels = self.problem.test.tensors[1]
        # Nine tenths of a verdict on a class are how many test samples it has.
        self.split = split(self.problem.train, Request(Classes((3,))), test=self.problem.test)
        self.removed = int((labels == 3).sum())
        self.references = retrain(
            self.split, self.problem.recipe, task=self.problem.task, seeds=(1, 2, 3, 4, 5)
        )

    def judged(self, after):
        outcome = Outcome.of(self.model, after, self.split, task=self.problem.task)
        evidence = audit(outcome, METRICS, references=self.references)
        return evidence, judge(evidence)


@pytest.fixture(scope="module")
def world():
    return World()


def masked(model):
    """A copy that never says three, and knows everything that it knew."""
    fake = deepcopy(model)
    with torch.no_grad():
        fake[-1].bias[3] = -1e4
    return fake


@pytest.fixture(scope="module")
def original(world):
    """What is found about a model that forgot nothing."""
    return world.judged(deepcopy(world.model))


@pytest.fixture(scope="module")
def mask(world):
    return world.judged(masked(world.model))


def test_the_original_is_residual(original):
    evidence, verdict = original
    assert verdict.word == "residual"
    assert not verdict.degraded
    assert GONE in verdict.reasons[0]
    assert evidence.measurement(GONE).value > 0.9


def test_a_retrained_model_is_not_residual_and_not_degraded(world):
    (other,) = retrain(
        world.split, world.problem.recipe, task=world.problem.task, seeds=(11,)
    ).members
    evidence, verdict = world.judged(other.load())
    assert verdict.word == "equivalent"
    assert not verdict.degraded
    assert evidence.measurement(GONE).value == 0


def test_a_model_that_lost_its_head_is_degraded(world):
    broken = deepcopy(world.model)
    with seeded(3):
        broken[-1] = nn.Linear(broken[-1].in_features, 10)
    _, verdict = world.judged(broken)
    assert verdict.degraded
    assert any("test accuracy, kept classes" in reason for reason in verdict.reasons)


def test_a_mask_over_one_logit_passes_on_answers_and_is_caught_by_training_it(mask):
    evidence, verdict = mask
    assert evidence.measurement(GONE).value == 0
    assert verdict.word == "residual"
    (reason,) = [r for r in verdict.reasons if "more than chance" in r]
    assert reason.startswith("relearning steps, removed classes")
    assert "mask over logits" in evidence.measurement("AUS").note


def test_without_a_look_behind_the_answers_a_mask_is_not_called_equivalent(world):
    outcome = Outcome.of(world.model, masked(world.model), world.split, task=world.problem.task)
    verdict = judge(audit(outcome, [Accuracy(), Loss()], references=world.references))
    assert verdict.word == "inconclusive"
    assert "only hidden passes on its answers" in " ".join(verdict.reasons)


def test_a_mask_does_score_as_well_as_retraining_on_the_summary_that_it_fools(mask):
    evidence, _ = mask
    found = evidence.measurement("AUS")
    assert found.value == pytest.approx(sum(found.target) / 5, abs=0.02)


def test_a_mask_can_be_taken_off_again(world):
    fake = masked(world.model)
    with torch.no_grad():
        fake[-1].bias[3] = world.model[-1].bias[3]
    evidence, verdict = world.judged(fake)
    assert verdict.word == "residual"
    assert evidence.measurement(GONE).value > 0.9


def test_no_verdict_speaks_of_proof(original, mask):
    for _, verdict in (original, mask):
        assert not any(word in " ".join(verdict.reasons) for word in ("proof", "prove", "certif"))
