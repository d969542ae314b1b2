"""Fakes look as if they had forgotten, and an audit that looks further catches each of them."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, audit, retrain, split
from expunge.errors import MissingInput
from expunge.faking import beheaded, fakes, masked, wrecked
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.probe import Probe
from expunge.metrics.relearning import Relearning
from expunge.metrics.silenced import Silenced
from expunge.problems.digits import digits

GONE = 3
TASK = Classification()


@cache
def world():
    """A trained network, a class that must go, and networks that never saw it."""
    problem = digits(epochs=15)
    parts = split(problem.train, Request(Classes((GONE,))), test=problem.test)
    references = retrain(parts, problem.recipe, task=problem.task, seeds=4)
    return problem.trained(), parts, references


@cache
def measured(which):
    model, parts, references = world()
    *others, last = references.members
    fake = last.load() if which == "retrained" else fakes(model, parts, TASK)[which]
    metrics = (
        [Accuracy()] if which in WRECKS else [Accuracy(), Probe(), Silenced(), Relearning(runs=2)]
    )
    theirs = type(references)(tuple(others)) if which == "retrained" else references
    evidence = audit(Outcome.of(model, fake, parts, task=TASK), metrics, references=theirs)
    return {m.name: m for m in evidence.measurements}


WRECKS = ("random head", "noise on all weights")
USE = "test accuracy, kept classes"
ANSWERS = "test accuracy, removed classes"
STEPS = "relearning steps, removed classes"
PROBE = "class-probe AUC"
RANKS = "silenced answer (log odds), removed classes"


def test_a_mask_answers_like_a_retrained_model_and_is_caught_by_training_it():
    found = measured("logit mask")
    assert found[ANSWERS].value == 0
    assert found[USE].comparison.difference.high > 0  # nothing of use was lost
    steps = found[STEPS]
    assert steps.comparison.p < 0.05
    assert steps.comparison.outside
    assert steps.value < min(steps.target) / 2
    assert found[PROBE].value == found[PROBE].original.value
    assert found[PROBE].comparison.difference.value > 0


def test_a_deep_mask_comes_off_slowly_and_still_ranks_whom_it_hides():
    found = measured("deep logit mask")
    assert found[STEPS].value > measured("logit mask")[STEPS].value
    assert found[RANKS].value == pytest.approx(found[RANKS].original.value, abs=0.05)
    assert found[RANKS].value > max(found[RANKS].target) + 1
    assert found[RANKS].comparison.p < 0.05


@pytest.mark.parametrize("which", WRECKS)
def test_what_forgot_everything_is_caught_by_what_it_lost(which):
    lost = measured(which)[USE]
    assert lost.value < 0.5
    assert lost.comparison.difference.high < -0.2
    assert lost.comparison.p < 0.05


def test_a_retrained_model_is_caught_by_none_of_these():
    found = measured("retrained")
    assert all(found[name].comparison.p > 0.05 for name in (STEPS, PROBE))
    assert found[USE].comparison.difference.high > -0.01


def weights(model):
    return torch.cat([p.flatten() for p in model.parameters()])


def some(n=20):
    return split(
        TensorDataset(torch.randn(n, 5), torch.arange(n) % 4),
        Request(Samples((1,))), test=TensorDataset(torch.randn(7, 5), torch.arange(7) % 4),
    )  # fmt: skip


def net(bias=True):  # noqa: FBT002 - one of two
    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4, bias=bias), nn.Softplus())


@pytest.mark.parametrize("bias", [True, False])
def test_only_the_masked_logit_is_another(bias):
    model, parts = net(bias)[:3], some()
    x = parts.test.source.tensors[0]
    fake = masked(model, parts.retain, TASK, (2,), by=7.0)
    torch.testing.assert_close(fake(x) - model(x), torch.tensor([[0, 0, -7.0, 0]]).expand(7, 4))


def test_the_model_itself_stays_and_the_same_seed_makes_the_same_fakes():
    model, parts = net()[:3], some()
    before, drawn = weights(model).clone(), torch.get_rng_state()
    once, again = (fakes(model, parts, TASK, seed=5) for _ in range(2))
    assert list(once) == ["random head", "noise on all weights"]  # no class left, none to mask
    assert all(torch.equal(weights(once[name]), weights(again[name])) for name in once)
    assert torch.equal(weights(model), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not torch.equal(
        weights(beheaded(model, parts.retain, TASK, 6)), weights(once["random head"])
    )
    assert torch.equal(once["random head"][0].weight, model[0].weight)


def test_noise_is_as_large_as_the_weights():
    model = nn.Linear(90, 80)
    apart = wrecked(model, noise=0.5).weight - model.weight
    ratio = apart.square().mean() / model.weight.square().mean()
    assert ratio.sqrt().item() == pytest.approx(0.5, rel=0.05)


def test_a_model_whose_logits_no_linear_layer_gives_cannot_be_masked():
    model = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 3),
                          nn.Flatten())  # fmt: skip
    with pytest.raises(MissingInput, match="no linear layer"):
        masked(model, some().retain, TASK, (0,))
