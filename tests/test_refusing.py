"""Settings that cannot be are refused before anything is done by them, and the hint says why."""

from functools import partial

import pytest
from torch import nn

from expunge import Classification, Fit, Outcome, Recipe, Samples, audit, retrain
from expunge.errors import BadSetting, UnknownName
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.relearning import Relearning
from expunge.testing import toy


@pytest.mark.parametrize(
    "setting",
    [{"epochs": -1}, {"epochs": "3"}, {"batch": 0}, {"batch": 2.5}, {"lr": -1.0},
     {"lr": float("nan")}, {"momentum": -0.1}, {"weight_decay": float("inf")}, {"task": None}],
)  # fmt: skip
def test_a_training_loop_refuses_numbers_that_no_run_could_have(setting):
    with pytest.raises(BadSetting, match=f"{next(iter(setting))} of Fit cannot be"):
        Fit(**setting)


@pytest.mark.parametrize("setting", ["optimizer", "schedule", "precision"])
def test_a_training_loop_takes_no_word_that_it_does_not_know(setting):
    with pytest.raises(UnknownName, match=f"{setting} of Fit"):
        Fit(**{setting: "adam"})


@pytest.mark.parametrize("margin", [float("nan"), float("inf"), -0.1, "wide"])
@pytest.mark.parametrize("metric", [Accuracy, Relearning])
def test_no_margin_holds_everything_or_nothing(margin, metric):
    with pytest.raises(BadSetting, match="margin of"):
        metric(margin=margin)


@pytest.mark.parametrize("seeds", [-1, True, "3", [0, "a"], [0, -1], [0.5], [True]])
def test_seeds_are_a_count_or_whole_numbers(seeds):
    problem = toy(Samples((1, 2, 3)))
    recipe = Recipe(partial(nn.Linear, 8, 3), Fit(epochs=1))
    with pytest.raises(BadSetting, match="seeds cannot be"):
        retrain(problem.split, recipe, task=Classification(), seeds=seeds)


def test_an_audit_refuses_a_tier_and_metrics_that_are_none():
    problem = toy(Samples((1, 2, 3)))
    outcome = Outcome.of(problem.model, problem.model, problem.split, task=Classification())
    with pytest.raises(UnknownName, match="tier"):
        audit(outcome, tier="gold")
    for odd in ("accuracy", Accuracy):
        with pytest.raises(BadSetting, match="is no metric"):
            audit(outcome, [odd])
