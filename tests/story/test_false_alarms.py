"""A truly retrained model is called residual no more often than one in twenty."""

import pytest
import torch
from scipy import stats

from expunge import Outcome, Request, Samples, audit, judge, split
from expunge.attacks.threshold import Threshold
from expunge.ensembles import Reference, References
from expunge.ensembling import fit_many
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.membership import Membership
from expunge.observing import snapshot
from expunge.planting import joined, mislabelled, taken
from expunge.problems.digits import digits

GONE, REFERENCES = 120, 5
METRICS = (Membership(Threshold("loss")), Accuracy())


def alarms(count, epochs):
    """How many of so many retrained models are residual, and degraded, beside five others each."""
    problem = digits(epochs=epochs)
    wrong = mislabelled(taken(problem.test, torch.arange(2 * GONE)), seed=0)
    train = joined(problem.train, taken(wrong, torch.arange(GONE)))
    gone = Samples(tuple(range(800, 800 + GONE)))
    unseen = taken(wrong, torch.arange(GONE, 2 * GONE))
    parts = split(train, Request(gone, id="wrong"), test=unseen)
    fitted = fit_many(problem.recipe, [parts.retain] * count, range(count))
    models = [each.model for each in sorted(fitted, key=lambda each: each.position)]
    members = [
        Reference(lambda model=model: model, snapshot(model, parts, problem.task), seed, 0.0, "")
        for seed, model in enumerate(models)
    ]
    chance = torch.Generator().manual_seed(0)
    original = problem.recipe.train(train)
    words = []
    for k, candidate in enumerate(models):
        others = [member for member in members if member.seed != k]
        chosen = torch.randperm(len(others), generator=chance)[:REFERENCES].tolist()
        references = References(tuple(others[i] for i in chosen))
        outcome = Outcome.of(original, candidate, parts, task=problem.task)
        words.append(judge(audit(outcome, METRICS, references=references)))
    return sum(v.word == "residual" for v in words), sum(v.word == "equivalent" for v in words)


def test_few_retrained_models_are_residual_and_some_can_be_shown_equivalent():
    residual, equivalent = alarms(16, epochs=12)
    assert stats.binomtest(residual, 16, 0.05, alternative="greater").pvalue > 0.01
    assert equivalent > 0


@pytest.mark.slow
def test_of_two_hundred_retrained_models_no_more_are_residual_than_one_in_twenty():
    residual, _ = alarms(200, epochs=40)
    assert stats.binomtest(residual, 200, 0.05, alternative="greater").pvalue > 0.05
