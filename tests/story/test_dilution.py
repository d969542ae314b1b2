"""What stayed must not hide behind what left: every request and every class decides for itself."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.utils.data import TensorDataset

from expunge import Classes, Fit, Outcome, Request, Samples, audit, judge, retrain, split
from expunge.attacks.threshold import Threshold
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.membership import Membership
from expunge.problems.digits import digits

WRONG = torch.arange(300, 360)  # samples whose labels are wrong, so that they are learnt by heart


@pytest.fixture(scope="module")
def noisy():
    problem = digits()
    x, y = problem.train.tensors
    y = y.clone()
    y[WRONG] = (y[WRONG] + 3) % 10
    recipe = replace(problem.recipe, fit=Fit(epochs=40, lr=0.1, batch=50))
    return replace(problem, train=TensorDataset(x, y), recipe=recipe)


@pytest.fixture(scope="module")
def before(noisy):
    return noisy.trained(0)


def compared(problem, parts):
    return retrain(parts, problem.recipe, task=problem.task, seeds=3)


def verdict_on(problem, parts, after, before, references):
    outcome = Outcome.of(before, after, parts, task=problem.task)
    metrics = [Accuracy(), Membership(Threshold("loss"))]  # what decides first, of either
    return judge(audit(outcome, metrics, references=references))


def test_many_that_left_do_not_hide_a_few_that_stayed(noisy, before):
    many = Request(Samples(tuple(range(200))), id="many")
    few = Request(Samples(tuple(WRONG.tolist())), id="few")
    parts = split(noisy.train, many, few, test=noisy.test)
    only_many = split(noisy.train, many, test=noisy.test)
    after, references = noisy.recipe.train(only_many.retain), compared(noisy, parts)
    found = verdict_on(noisy, parts, after, before, references)
    assert found.word == "residual"
    assert any("request few" in reason for reason in found.reasons)
    assert not any("request many" in reason for reason in found.reasons)


def test_a_class_that_left_does_not_hide_one_that_stayed(noisy, before):
    both = split(noisy.train, Request(Classes((3, 8))), test=noisy.test)
    one = split(noisy.train, Request(Classes((3,))), test=noisy.test)
    after, references = noisy.recipe.train(one.retain), compared(noisy, both)
    found = verdict_on(noisy, both, after, before, references)
    assert found.word == "residual"
    assert any("removed class 8" in reason for reason in found.reasons)
    assert verdict_on(noisy, both, deepcopy(before), before, references).word == "residual"
