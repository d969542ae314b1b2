"""What must not go wrong in silence: bad models, few samples, unlike data, wrong companions."""

import logging
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import (
    Classification,
    Fit,
    Outcome,
    Recipe,
    Request,
    Samples,
    audit,
    judge,
    retrain,
    split,
    unlearn,
)
from expunge.attacks.threshold import Threshold
from expunge.ensembles import Reference, References
from expunge.errors import Diverged, ModelDoesNotFit
from expunge.methods.finetune import Finetune
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.blind import Blind
from expunge.metrics.membership import Membership
from expunge.observing import snapshot
from expunge.planting import mislabelled, taken
from expunge.seeding import seeded
from expunge.shadowing import shadow_of
from expunge.storing import load_tensors, save_tensors
from expunge.tiers import SHARPER

TASK = Classification()
GONE = 60
METRICS = (Membership(Threshold("loss")), Accuracy())


def build(classes=3):
    return nn.Sequential(nn.Linear(12, 61), nn.ReLU(), nn.Linear(61, classes))


RECIPE = Recipe(build, Fit(epochs=50, lr=0.1, batch=31, weight_decay=0.0), "by heart")


def drawn(n, seed):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=generator)
    x = torch.randn(n, 12, generator=generator) + 2 * nn.functional.one_hot(y, 12)
    return TensorDataset(x, y)


def planted(gone=GONE, test=None):
    """Ordinary records, and some under wrong labels, which can only be learnt by heart."""
    wrong = mislabelled(drawn(2 * GONE, 1), seed=0)
    (x, y), (wx, wy) = drawn(110, 0).tensors, wrong.tensors
    train = TensorDataset(torch.cat([wx[:GONE], x]), torch.cat([wy[:GONE], y]))
    unseen = taken(wrong, torch.arange(GONE, 2 * GONE)) if test is None else test
    return split(train, Request(Samples(tuple(range(gone))), id="wrong"), test=unseen)


@pytest.fixture(scope="module")
def parts():
    return planted()


@pytest.fixture(scope="module")
def original(parts):
    with seeded(0):
        return RECIPE.train(parts.retain.source)


@pytest.fixture(scope="module")
def references(parts):
    return retrain(parts, RECIPE, task=TASK, seeds=5)


def said(verdict):
    return " ".join(verdict.reasons)


def test_a_model_that_answers_nothing_finite_is_named_and_not_measured(parts, original):
    broken = build()
    with torch.no_grad():
        broken[0].weight[3] = torch.nan
    with pytest.raises(Diverged, match=r"\d+ of \d+ samples with numbers that are not finite"):
        audit(Outcome.of(original, broken, parts, task=TASK), METRICS)


def test_one_sample_is_too_few_to_tell_and_nothing_breaks(original):
    alone = planted(gone=1)
    outcome = unlearn(original, alone, Finetune(epochs=1), task=TASK)
    quick = replace(RECIPE, fit=replace(RECIPE.fit, epochs=2))
    references = retrain(alone, quick, task=TASK, seeds=3)
    found = audit(outcome, METRICS, recipe=quick, references=references)
    assert judge(found).word == "inconclusive"
    assert "one sample is too few" in said(judge(found))
    assert "1 left the training set" in found.measurement(SHARPER).note


def test_unseen_samples_of_other_preprocessing_confound_the_attack(original, references):
    x, y = mislabelled(drawn(2 * GONE, 1), seed=0).tensors
    unlike = planted(test=TensorDataset(3 * x[GONE:] + 1, y[GONE:]))
    others = retrain(unlike, RECIPE, task=TASK, seeds=3)
    outcome = Outcome.of(original, references.members[0].load(), unlike, task=TASK)
    verdict = judge(audit(outcome, [*METRICS, Blind()], references=others))
    assert verdict.word == "inconclusive"
    assert "is confounded and does not decide" in said(verdict)


def test_a_reference_that_was_trained_on_the_forget_set_is_named(parts, original, references):
    with seeded(9):
        knows = RECIPE.train(parts.retain.source)
    other = Reference(lambda: knows, snapshot(knows, parts, TASK), 9, 1.0, "")
    bad = References((*references.members[:4], other))
    held_out = Outcome.of(original, references.members[4].load(), parts, task=TASK)
    verdict = judge(audit(held_out, METRICS, references=bad))
    assert verdict.word == "inconclusive"
    assert "reference 9 scores" in said(verdict)
    assert "trained on the forget set?" in said(verdict)
    assert judge(audit(held_out, METRICS, references=references)).word != "residual"


def test_shadow_models_of_another_shape_are_refused(parts, original):
    wide = Recipe(lambda: build(5), Fit(epochs=1), "wide")
    outcome = unlearn(original, parts, Finetune(epochs=1), task=TASK)
    shadows = shadow_of(outcome, wide, count=2)
    with pytest.raises(ModelDoesNotFit, match="shadow models"):
        audit(outcome, METRICS, shadows=shadows)


def test_what_another_version_wrote_is_made_again_and_said(parts, tmp_path, caplog):
    quick = replace(RECIPE, fit=replace(RECIPE.fit, epochs=1))
    retrain(parts, quick, task=TASK, seeds=2, cache=tmp_path)
    (path,) = tmp_path.glob("*/reference-1.safetensors")
    tensors, meta = load_tensors(path)
    save_tensors(path, tensors, {**meta, "expunge": "99"})
    with caplog.at_level(logging.WARNING, "expunge"):
        again = retrain(parts, quick, task=TASK, seeds=2, cache=tmp_path)
    assert "reference 1 is trained again" in caplog.text
    assert "format version 99" in caplog.text
    assert len(again) == 2
    assert load_tensors(path)[1]["expunge"] == "1"
