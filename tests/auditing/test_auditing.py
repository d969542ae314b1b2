"""An audit: what is measured, what is compared, and what says that it is not measured."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classes, Fit, Outcome, Recipe, Request, Samples, split
from expunge.attacks.threshold import Threshold
from expunge.auditing import audit
from expunge.errors import BadSetting, MissingInput, ModelDoesNotFit, RequestDoesNotFit
from expunge.judging import judge
from expunge.metric import Measurement, Metric
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.accuracy_gap import AccuracyGap
from expunge.metrics.aus import Aus
from expunge.metrics.membership import Membership
from expunge.retraining import retrain
from expunge.shadowing import shadow_of
from expunge.tasks import MultiLabel
from expunge.tiers import suite
from expunge.unlearning import seeded


def test_the_same_audit_gives_the_same_evidence(case, evidence):
    assert case.evidence().measurements == evidence.measurements


def test_the_order_of_metrics_changes_the_order_of_measurements_and_nothing_else(case, evidence):
    backward = case.evidence(suite()[::-1])
    assert {m.name: m for m in backward.measurements} == {m.name: m for m in evidence.measurements}


COMPARED = (
    "membership AUC, threshold (loss)",
    "forget accuracy",
    "retain accuracy",
    "test accuracy",
)


@pytest.mark.parametrize("name", COMPARED)
def test_what_may_decide_is_compared_controlled_and_tested_on_itself(evidence, name):
    found = evidence.measurement(name)
    assert len(found.target) == 3
    assert None not in (found.comparison, found.control, found.selftest, found.original)
    low, high = found.interval
    assert low <= found.value <= high
    mean = sum(found.target) / 3
    assert found.comparison.difference.value == pytest.approx(found.value - mean, abs=1e-6)
    assert found.control.difference.value == pytest.approx(found.original.value - mean, abs=1e-6)
    others = sum(found.target[:-1]) / 2
    assert found.selftest.difference.value == pytest.approx(found.target[-1] - others, abs=1e-6)


def test_without_references_nothing_is_compared(case):
    found = audit(case.outcome)
    assert any(m.value is not None for m in found.measurements)
    for m in found.measurements:
        assert not m.target
        assert m.comparison is m.control is m.selftest is None
    for name in ("divergence", "accuracy gap", "weight distance"):
        assert "no reference model was given" in found.measurement(name).note


def test_two_metrics_may_not_measure_the_same(case):
    with pytest.raises(BadSetting, match="two metrics measure"):
        case.evidence([Accuracy(), Accuracy(margin=0.2)])


def test_labels_that_the_split_and_the_task_read_differently_are_noticed(case):
    x, y = case.split.retain.source.tensors
    other = split(
        TensorDataset(x, y),
        Request(Classes((1,))),
        test=case.split.test.source,
        labels=((y + 1) % 3).tolist(),
    )
    with pytest.raises(RequestDoesNotFit, match="to the task"):
        audit(replace(case.outcome, split=other), [])


def test_given_references_are_used_and_the_recipe_is_not(case, monkeypatch):
    for name in ("retrain", "shadow_of"):
        monkeypatch.setattr(f"expunge.gathering.{name}", None)
    shadows = shadow_of(case.outcome, case.recipe, count=2)
    found = case.evidence([Membership(Threshold())], recipe=case.recipe, shadows=shadows)
    assert found.provenance.reference_seeds == (0, 1, 2)


def test_references_of_another_request_are_refused(case):
    other = split(
        case.data("classification", 60, 0), Request(Samples((1, 2))), test=case.split.test
    )
    wrong = retrain(other, case.recipe, task=case.task, seeds=1)
    with pytest.raises(ModelDoesNotFit, match="another split"):
        audit(case.outcome, references=wrong)


def test_metrics_that_make_no_sense_for_a_task_say_so(other):
    found, kind = other.evidence(), other.task.kind
    senseless = {"aus", "divergence"} | (
        {"accuracy", "accuracy gap"} if kind == "regression" else set()
    )
    for name in senseless:
        m = found.measurement(name)
        assert (m.value, m.status) == (None, "not measured")
        assert f"no sense for a {kind} task" in m.note
    assert found.measurement("membership AUC, threshold (loss)").comparison is not None
    assert found.measurement("test loss").value is not None
    assert judge(found).word in {"equivalent", "residual", "inconclusive"}


def test_a_signal_that_makes_no_sense_for_a_task_says_so_too(other):
    (m,) = other.evidence([Membership(Threshold("mentropy"))]).measurements
    assert (m.name, m.status) == ("membership AUC, threshold (mentropy)", "not measured")
    assert f"no sense for a {other.task.kind} task" in m.note


def test_a_class_request_on_labels_that_are_no_classes_is_not_measured(case):
    kind = "multilabel"
    labels = [int(y[0]) for y in case.data(kind, 60, 0).tensors[1]]
    chosen = split(
        case.data(kind, 60, 0), Request(Classes((1,))), test=case.data(kind, 37, 1), labels=labels
    )
    with seeded(0):
        outcome = Outcome.of(case.recipe.build(), case.recipe.build(), chosen, task=MultiLabel())
    found = audit(outcome)
    assert found.measurement("forget accuracy").value is not None
    assert "not measured" in found.measurement("accuracy").note


def test_a_test_set_of_removed_classes_alone_measures_no_kept_ones(case):
    x, _ = case.data("classification", 12, 1).tensors
    alone = TensorDataset(x, torch.full((12,), 2))
    chosen = split(case.data("classification", 60, 0), Request(Classes((2,))), test=alone)
    found = audit(replace(case.outcome, split=chosen))
    assert "not measured" in found.measurement("AUS").note or found.measurement("aus").note


def test_a_test_set_without_the_removed_class_is_not_measured_on_it(case):
    x, _ = case.data("classification", 12, 1).tensors
    without = TensorDataset(x, torch.zeros(12, dtype=torch.long))
    chosen = split(case.data("classification", 60, 0), Request(Classes((2,))), test=without)
    found = audit(replace(case.outcome, split=chosen))
    m = found.measurement("test accuracy, removed classes")
    assert "no sample of the removed classes (2,)" in m.note
    assert found.measurement("test accuracy, kept classes").value is not None
    assert "no sample of the removed classes" in " ".join(judge(found).reasons)


def test_what_is_asked_depends_on_what_was_to_be_forgotten():
    def names(*targets):
        return {type(metric).__name__ for metric in suite(targets)}

    about = {"Leakage", "Reattack", "Fairness", "Selectivity"}
    assert not about & names(Samples((1,)))
    assert names(Attribute("sex")) == about | {"Accuracy", "Loss", "Cost"}
    assert names(Samples((1,)), Attribute("sex")) == about | names(Samples((1,)))
    assert [m.build for m in suite((Attribute("sex"),), dict) if hasattr(m, "build")] == [dict] * 2


def test_an_attribute_request_measures_what_needs_no_forget_set(case):
    chosen = split(
        case.data("classification", 60, 0), Request(Attribute("hat")), test=case.split.test
    )
    found = audit(replace(case.outcome, split=chosen), recipe=case.recipe)
    assert found.provenance.reference_seeds == ()
    assert found.measurement("test accuracy").value is not None
    assert found.provenance.tier == "standard"  # nobody left, so nothing more could be retrained
    assert not any("membership" in m.name for m in found.measurements)
    assert "cannot read the attribute 'hat'" in found.measurement("leakage").note
    assert "not part of this audit" in judge(found).reasons[0]


def test_a_model_of_somebody_else_is_audited_without_a_method(case):
    found = audit(Outcome.of(case.model, case.outcome.after, case.split, task=case.task))
    assert found.provenance.method == "somebody else's"
    assert "left no time" in found.measurement("cost").note


def test_references_of_another_architecture_have_no_weight_distance(case):
    wide = Recipe(lambda: nn.Sequential(nn.Linear(6, 11), nn.Linear(11, 3)), Fit(epochs=1))
    others = retrain(case.split, wide, task=case.task, seeds=2)
    found = audit(case.outcome, references=others)
    assert "other parameters than the original" in found.measurement("weight distance").note
    assert found.measurement("forget accuracy").comparison is not None


def test_an_audit_changes_neither_modes_nor_weights_nor_generators(case):
    before, after = case.outcome.before, case.outcome.after
    before.train()
    before[1].eval()
    modes = [[m.training for m in model.modules()] for model in (before, after)]
    state = [{k: v.clone() for k, v in m.state_dict().items()} for m in (before, after)]
    drawn = torch.get_rng_state()
    case.evidence()
    assert modes == [[m.training for m in model.modules()] for model in (before, after)]
    for model, kept in zip((before, after), state, strict=True):
        assert all(torch.equal(v, kept[k]) for k, v in model.state_dict().items())
    assert torch.equal(drawn, torch.get_rng_state())
    before.eval()


@dataclass(frozen=True)
class HalfWay(Metric):
    """Knows one number, and lacks what the next one needs."""

    def measure(self, trial):
        del trial
        yield Measurement("half", torch.rand(1).item())
        raise MissingInput("the other half is missing")


def test_what_was_measured_before_something_was_missing_is_kept(case):
    first = audit(case.outcome, [HalfWay(), Membership(Threshold())], seed=4).measurements
    assert [m.name for m in first] == ["half", "half way", "membership AUC, threshold (loss)"]
    assert first[1].note == "not measured: the other half is missing"
    again = audit(case.outcome, [HalfWay()], seed=4).measurements
    assert again == first[:2]
    assert audit(case.outcome, [HalfWay()], seed=5).measurements[0] != first[0]


def test_metrics_that_need_features_get_them_for_every_model(case):
    shapes = []

    @dataclass(frozen=True)
    class Looking(Metric):
        features = True

        def measure(self, trial):
            models = (trial.before, trial.after, *trial.snapshots)
            shapes.extend(
                {k: tuple(v.shape) for k, v in seen.test.features.items()} for seen in models
            )
            yield Measurement("looked", 1.0)

    case.evidence([Looking()])
    assert shapes == [{"auto": (37, 8)}] * 5


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (AccuracyGap(), "accuracy gap"),
        (Aus(), "aus"),
        (Membership(Threshold("phi")), "membership AUC, threshold (phi)"),
    ],
)
def test_a_metric_is_called_by_its_name_in_words(metric, words):
    assert metric.label == words
