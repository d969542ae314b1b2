"""What the membership metric makes of attacks on single samples."""

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Fit, Outcome, Recipe, Request, Samples, audit, retrain, split
from expunge.attacks.classifier import Classifier
from expunge.attacks.lira import Lira
from expunge.attacks.rmia import Rmia
from expunge.attacks.threshold import Threshold
from expunge.attacks.ulira import Ulira
from expunge.method import Method
from expunge.methods.retrain import Retrain
from expunge.metric import Trial
from expunge.metrics.membership import Membership
from expunge.problems.networks import mlp
from expunge.shadowing import shadow_of
from expunge.unlearning import seeded, unlearn

TASK = Classification()


def trial_of(world):
    data = TensorDataset(torch.zeros(6 * world.m, 3), torch.zeros(6 * world.m).long())
    request = Request(Samples(tuple(world.forget_ids.tolist())))
    parts = split(data, request, test=data)
    outcome = Outcome.of(nn.Identity(), nn.Identity(), parts, task=TASK)
    return Trial(outcome, world.snapshot(left=1.0), world.snapshot())


def measured(attack, world):
    return {m.name: m for m in Membership(attack).measure(trial_of(world))}


def test_shadow_models_are_no_part_of_a_label(planted):
    shadows = planted(m=12).shadows(retrained=2)
    labels = {
        Ulira(shadows): "ulira (privacy)",
        Ulira(shadows, "efficacy"): "ulira (efficacy)",
        Lira(shadows): "lira (student)",
        Rmia(shadows, "offline"): "rmia (offline, 1.0)",
        Classifier(): "classifier (salun)",
        Threshold(): "threshold (loss)",
    }
    for attack, label in labels.items():
        assert Membership(attack).label == f"membership AUC, {label}"


def test_an_attack_on_single_samples_tells_how_many_it_names_at_few_false_alarms(planted):
    world = planted(m=500, population=0)
    found = measured(Ulira(world.shadows()), world)["TPR at 1% FPR, ulira (privacy)"]
    scores = Ulira(world.shadows()).score(world.snapshot())
    assert 0.03 < found.value < 0.5
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.n == len(scores.member)
    assert found.original.value > 0
    assert "1.0% of non-members are named too" in found.note


def test_too_few_non_members_for_a_rate_are_told_and_no_number_is_given(planted):
    world = planted(m=100)
    found = measured(Ulira(world.shadows()), world)["TPR at 1% FPR, ulira (privacy)"]
    assert (found.value, found.status) == (None, "insufficient")
    assert "100 non-members support no rate below 5.0%" in found.note


def test_one_threshold_for_all_names_nobody(planted):
    assert [*measured(Threshold(), planted(m=12))] == ["membership AUC, threshold (loss)"]


def test_a_snapshot_is_attacked_once_however_often_it_is_read(planted):
    asked = []

    @dataclass(frozen=True)
    class Noting(Ulira):
        def score(self, snapshot):
            asked.append(snapshot)
            return super().score(snapshot)

    world = planted(m=500)
    measured(Noting(world.shadows()), world)
    assert len(asked) == 2


def test_members_of_the_other_game_are_compared_with_retrained_models(planted):
    world = planted(m=30)
    found = measured(Ulira(world.shadows(retrained=3), "efficacy"), world)
    note = found["membership AUC, ulira (efficacy)"].note
    assert note.startswith("30 members against 90 answers of retrained models")


@dataclass(frozen=True)
class Idle(Method):
    """Forgets nothing."""

    def forget(self, model, case):
        del case
        return model


@pytest.fixture(scope="module")
def memorised():
    """Labels that nothing hints at, learnt by heart."""
    generator = torch.Generator().manual_seed(0)

    def drawn(n):
        x = torch.randn(n, 12, generator=generator)
        return TensorDataset(x, torch.randint(0, 3, (n,), generator=generator))

    train, test = drawn(90), drawn(70)
    recipe = Recipe(partial(mlp, inputs=12, width=32, classes=3), Fit(epochs=25, batch=30, lr=0.2))
    with seeded(1):
        original = recipe.train(train)
    parts = split(train, Request(Samples(tuple(range(30)))), test=test)
    return original, parts, recipe


def test_doing_nothing_is_found_and_retraining_is_not(memorised):
    original, parts, recipe = memorised
    references = retrain(parts, recipe, task=TASK, seeds=5)
    found = {}
    for method in (Idle(), Retrain(recipe)):
        outcome = unlearn(original, parts, method, task=TASK)
        shadows = shadow_of(outcome, recipe, count=8)
        evidence = audit(outcome, [Membership(Ulira(shadows))], references=references)
        found[method.name] = evidence.measurement("membership AUC, ulira (privacy)")
    nothing, exact = found.values()
    assert nothing.value > 0.85
    assert nothing.comparison.outside
    assert exact.interval[0] <= 0.5 <= exact.interval[1]
    assert not exact.comparison.outside


def test_the_audit_s_own_references_pass_for_what_they_are(memorised):
    original, parts, recipe = memorised
    outcome = unlearn(original, parts, Idle(), task=TASK)
    shadows = shadow_of(outcome, recipe, count=8)
    references = retrain(parts, recipe, task=TASK, seeds=3)
    retrained = replace(outcome, after=references.members[0].load())
    evidence = audit(retrained, [Membership(Ulira(shadows))], references=references)
    assert not evidence.measurement("membership AUC, ulira (privacy)").comparison.outside
