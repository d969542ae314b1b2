"""Evidence: what is measured, what says that it is not, and a round trip through JSON."""

import json
import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classes, Evidence, Fit, Outcome, Recipe, Request, Samples, split
from expunge.algebra.statistics import Interval
from expunge.attacks.threshold import Threshold
from expunge.auditing import audit, spoken, suite
from expunge.errors import CannotRead, MissingInput, ModelDoesNotFit
from expunge.judging import judge
from expunge.methods.finetune import Finetune
from expunge.metric import Comparison, Exhibit, Measurement, Metric
from expunge.metrics.membership import Membership
from expunge.retraining import retrain
from expunge.tasks import Classification, MultiLabel, Regression
from expunge.unlearning import seeded, unlearn

TASKS = {"classification": Classification(), "multilabel": MultiLabel(), "regression": Regression()}
GONE = (11, 13, 17, 19, 23, 29)


def data(kind, n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator)
    match kind:
        case "classification":
            return TensorDataset(x, torch.arange(n) % 3)
        case "multilabel":
            return TensorDataset(x, (x[:, :3] > 0).float())
        case _:
            return TensorDataset(x, x[:, :3] @ torch.ones(3, 3))


def build():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Case:
    """A model, its outcome and its references, for one kind of task."""

    def __init__(self, kind, target=None):
        self.task = TASKS[kind]
        self.split = split(
            data(kind, 60, 0), Request(target or Samples(GONE), id="r1"), test=data(kind, 37, 1)
        )
        self.recipe = Recipe(build, Fit(epochs=3, batch=17, task=self.task))
        with seeded(0):
            self.model = self.recipe.train(self.split.retain.source)
        method = Finetune(epochs=1)
        self.outcome = unlearn(self.model, self.split, method, task=self.task)
        self.references = retrain(self.split, self.recipe, task=self.task, seeds=3)

    def evidence(self, metrics=None, **given):
        return audit(self.outcome, metrics, references=self.references, **given)


@pytest.fixture(scope="module")
def case():
    return Case("classification")


@pytest.fixture(scope="module", params=["multilabel", "regression"])
def other(request):
    return Case(request.param)


@pytest.fixture(scope="module")
def evidence(case):
    return case.evidence()


def timeless(evidence):
    return replace(evidence, provenance=replace(evidence.provenance, audit_seconds=0.0))


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("alone", [True, False])
def test_evidence_survives_a_round_trip_through_json_exactly(kind, alone):
    case = Case(kind)
    evidence = audit(case.outcome) if alone else case.evidence()
    again = Evidence.from_json(evidence.to_json())
    assert again.to_json() == evidence.to_json()
    assert judge(again) == judge(evidence)
    for one, other in zip(evidence.measurements, again.measurements, strict=True):
        assert replace(one, exhibit=None) == replace(other, exhibit=None)
        if one.exhibit:
            mine, theirs = one.exhibit.columns, other.exhibit.columns
            assert {k: list(v) for k, v in mine.items()} == {k: list(v) for k, v in theirs.items()}
    assert again.request_ids == ("r1",)


def test_what_is_unknown_or_without_end_survives_too(evidence):
    endless = Interval(0.5, -torch.inf, torch.inf)
    odd = (
        Measurement.missing("nothing", "nobody knows"),
        Measurement("wide", 0.5, interval=(-torch.inf, torch.inf), original=endless),
        Measurement("apart", 0.5, comparison=Comparison(endless, 1.0, 0.05)),
        Measurement("bars", 1.0, exhibit=Exhibit("bars", "t", {"a": [1, 0.5, "x", None]})),
    )
    given = replace(evidence, measurements=odd)
    assert Evidence.from_json(given.to_json()).measurements == odd


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"request_ids": ["a"]}'])
def test_what_is_not_evidence_is_refused(text):
    with pytest.raises(CannotRead, match="not evidence"):
        Evidence.from_json(text)


def test_evidence_of_a_newer_expunge_is_refused(evidence):
    body = json.loads(evidence.to_json()) | {"version": 2}
    with pytest.raises(CannotRead, match="version"):
        Evidence.from_json(json.dumps(body))


def test_the_same_audit_gives_the_same_evidence(case, evidence):
    assert timeless(case.evidence()).measurements == timeless(evidence).measurements


def test_the_order_of_metrics_changes_the_order_of_measurements_and_nothing_else(case, evidence):
    backward = case.evidence(suite()[::-1])
    assert {m.name: m for m in backward.measurements} == {
        m.name: m for m in evidence.measurements
    }


def test_digests_follow_weights_and_data(case, evidence):
    first = evidence.provenance.digests
    with seeded(5):
        changed = replace(case.outcome, after=build().eval())
    second = audit(changed, [Membership(Threshold())]).provenance.digests
    assert second["unlearned"] != first["unlearned"]
    assert second["original"] == first["original"]
    fewer = split(data("classification", 60, 9), Request(Samples(GONE)), test=data("classification", 37, 9))
    third = audit(replace(case.outcome, split=fewer), []).provenance.digests
    for name in ("training data", "test data"):
        assert third[name] != first[name] == second[name]


def test_provenance_tells_what_is_needed_to_repeat_it(evidence):
    found = evidence.provenance
    assert found.method == "Finetune"
    assert found.settings == Finetune(epochs=1).describe()
    assert (found.kind, found.seed, found.reference_seeds) == ("samples", 0, (0, 1, 2))
    assert found.counts == {"forget": 6, "retain": 54, "test": 37}
    assert {"expunge", "torch", "numpy", "scipy", "python"} <= found.versions.keys()
    assert {"original", "unlearned", "reference 0", "reference 2"} <= found.digests.keys()


def test_evidence_holds_no_position_of_a_forgotten_sample(evidence):
    body = json.loads(evidence.to_json())
    assert body["provenance"]["targets"][0].keys() == {"kind", "count", "digest"}

    def lists(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from lists(item)
        elif isinstance(value, list):
            yield value
            for item in value:
                yield from lists(item)

    for found in lists(body):
        numbers = {x for x in found if isinstance(x, int | float) and not isinstance(x, bool)}
        assert not set(GONE) <= numbers
    assert not re.search(r"11, *13, *17", evidence.to_json())


COMPARED = ("membership AUC, threshold (loss)", "forget accuracy", "retain accuracy", "test accuracy")


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


def test_the_tier_smoke_retrains_nothing_and_strict_more_than_standard(case, monkeypatch):
    asked = []

    def never(_split, _recipe, *, seeds, **_):
        asked.append(seeds)

    monkeypatch.setattr("expunge.auditing.retrain", never)
    for tier in ("smoke", "standard", "strict"):
        assert audit(case.outcome, [], tier=tier, recipe=case.recipe).provenance.tier == tier
    assert asked == [5, 20]


def test_given_references_are_used_and_the_recipe_is_not(case, monkeypatch):
    monkeypatch.setattr("expunge.auditing.retrain", None)
    found = case.evidence([Membership(Threshold())], recipe=case.recipe)
    assert found.provenance.reference_seeds == (0, 1, 2)


def test_references_of_another_request_are_refused(case):
    other = split(data("classification", 60, 0), Request(Samples((1, 2))), test=case.split.test)
    wrong = retrain(other, case.recipe, task=case.task, seeds=1)
    with pytest.raises(ModelDoesNotFit, match="another forget set"):
        audit(case.outcome, references=wrong)


def test_metrics_that_make_no_sense_for_a_task_say_so(other):
    found, kind = other.evidence(), other.task.kind
    senseless = {"aus", "divergence"} | ({"accuracy", "accuracy gap"} if kind == "regression" else set())
    for name in senseless:
        m = found.measurement(name)
        assert (m.value, m.status) == (None, "not measured")
        assert f"no sense for a {kind} task" in m.note
    assert found.measurement("membership AUC, threshold (loss)").comparison is not None
    assert found.measurement("test loss").value is not None
    assert judge(found).word in {"equivalent", "residual", "inconclusive"}


def test_a_signal_that_makes_no_sense_for_a_task_says_so_too(other):
    (m,) = other.evidence([Membership(Threshold("mentropy"))]).measurements
    assert (m.name, m.status) == ("membership", "not measured")
    assert f"no sense for a {other.task.kind} task" in m.note


def test_a_class_request_on_labels_that_are_no_classes_is_not_measured():
    kind = "multilabel"
    labels = [int(y[0]) for y in data(kind, 60, 0).tensors[1]]
    chosen = split(data(kind, 60, 0), Request(Classes((1,))), test=data(kind, 37, 1), labels=labels)
    with seeded(0):
        outcome = Outcome.of(build(), build(), chosen, task=TASKS[kind])
    found = audit(outcome)
    assert found.measurement("forget accuracy").value is not None
    assert "not measured" in found.measurement("accuracy").note


def test_a_test_set_of_removed_classes_alone_measures_no_kept_ones(case):
    x, _ = data("classification", 12, 1).tensors
    alone = TensorDataset(x, torch.full((12,), 2))
    chosen = split(data("classification", 60, 0), Request(Classes((2,))), test=alone)
    found = audit(replace(case.outcome, split=chosen))
    assert "not measured" in found.measurement("AUS").note or found.measurement("aus").note


def test_a_test_set_without_the_removed_class_is_not_measured_on_it(case):
    x, _ = data("classification", 12, 1).tensors
    without = TensorDataset(x, torch.zeros(12, dtype=torch.long))
    chosen = split(data("classification", 60, 0), Request(Classes((2,))), test=without)
    found = audit(replace(case.outcome, split=chosen))
    m = found.measurement("test accuracy, removed classes")
    assert "no sample of the removed classes (2,)" in m.note
    assert found.measurement("test accuracy, kept classes").value is not None
    assert "no sample of the removed classes" in " ".join(judge(found).reasons)


def test_an_attribute_request_measures_what_needs_no_forget_set(case):
    chosen = split(data("classification", 60, 0), Request(Attribute("hat")), test=case.split.test)
    found = audit(replace(case.outcome, split=chosen), recipe=case.recipe)
    assert found.provenance.reference_seeds == ()
    assert found.measurement("test accuracy").value is not None
    assert "nobody left the training set" in found.measurement("membership").note


def test_a_model_of_somebody_else_is_audited_without_a_method(case):
    found = audit(Outcome.of(case.model, case.outcome.after, case.split, task=case.task))
    assert found.provenance.method == "somebody else's"
    assert "left no time" in found.measurement("cost").note


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
            for seen in (trial.before, trial.after, *trial.snapshots):
                shapes.append({k: tuple(v.shape) for k, v in seen.test.features.items()})
            yield Measurement("looked", 1.0)

    case.evidence([Looking()])
    assert shapes == [{"auto": (37, 8)}] * 5


@pytest.mark.parametrize(("name", "words"), [("AccuracyGap", "accuracy gap"), ("Aus", "aus")])
def test_a_metric_is_called_by_its_name_in_words(name, words):
    assert spoken(name) == words
