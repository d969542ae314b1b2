"""What is special about retraining: it starts afresh, and equals a reference of its seed."""

import pytest
import torch
from torch import nn

from expunge import Fit, Recipe, retrain
from expunge.errors import BrokenPromise
from expunge.methods.retrain import Retrain


def test_a_class_that_was_never_seen_is_never_named_and_the_others_are_learnt(threes):
    _, after = threes.unlearned(Retrain(threes.problem.recipe))
    assert after.test_removed.accuracy == 0
    assert after.test_kept.accuracy >= 0.9


def test_it_is_never_a_reference_even_of_the_same_seed(threes):
    recipe = Recipe(threes.problem.recipe.build, Fit(epochs=2, batch=50))
    outcome, _ = threes.unlearned(Retrain(recipe), seed=4)
    references = retrain(threes.split, recipe, task=threes.problem.task, seeds=(4,))
    theirs = references.members[0].load().state_dict()
    assert not any(torch.equal(v, theirs[k]) for k, v in outcome.after.state_dict().items())


def test_it_sees_the_retain_set_alone_and_nothing_of_the_original(threes):
    seen = []

    def fit(model, dataset):
        seen.append(dataset.indices.tolist())
        return model

    outcome, _ = threes.unlearned(Retrain(Recipe(threes.problem.recipe.build, fit)))
    assert seen == [threes.split.retain.indices.tolist()]
    assert not torch.equal(outcome.after[0].weight, threes.original[0].weight)


def test_a_fit_that_returns_nothing_is_named(threes):
    recipe = Recipe(threes.problem.recipe.build, lambda _model, _data: None)
    with pytest.raises(BrokenPromise, match="fit returned NoneType") as why:
        threes.unlearned(Retrain(recipe))
    assert "return model" in why.value.hint


def test_a_recipe_for_another_network_is_refused(threes):
    recipe = Recipe(lambda: nn.Linear(64, 10), lambda model, _: model)
    with pytest.raises(BrokenPromise, match="Retrain changed the parameter"):
        threes.unlearned(Retrain(recipe))


def test_its_settings_tell_recipes_apart():
    def fit(model, _):
        return model

    one, other = (Retrain(Recipe(lambda: nn.Linear(2, 3), fit, name=n)) for n in ("a", "b"))
    assert one.describe() != other.describe()
