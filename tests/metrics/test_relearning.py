"""What was hidden comes back sooner than what was never learnt."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import (
    Classes,
    Classification,
    Fit,
    Outcome,
    Recipe,
    Request,
    Samples,
    retrain,
    split,
)
from expunge.ensembles import Reference, References
from expunge.errors import BadSetting, MissingInput
from expunge.exams import Exam
from expunge.metric import Trial
from expunge.metrics.relearning import Relearning
from expunge.observing import Observation, Snapshot, snapshot
from expunge.reteaching import Lesson
from expunge.unlearning import seeded

N, TEST, D, C, GONE = 240, 120, 6, 4, 2
TASK = Classification()
STEPS, INDEX = "relearning steps, removed classes", "anamnesis index, removed classes"


def data(n, seed):
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % C
    x = torch.randn(n, D, generator=draw)
    x[torch.arange(n), y] += 3
    return TensorDataset(x, y)


def build():
    return nn.Sequential(nn.Linear(D, 40), nn.ReLU(), nn.Linear(40, C))


RECIPE = Recipe(build, Fit(epochs=12, lr=0.1, batch=30))


@cache
def world(*targets):
    """What was split, the original, and four models that never saw what left."""
    requests = [Request(target, id=f"r{k}") for k, target in enumerate(targets)]
    parts = split(data(N, 0), *requests, test=data(TEST, 1))
    with seeded(0):
        original = RECIPE.train(parts.retain.source)
    return parts, original, retrain(parts, RECIPE, task=TASK, seeds=4)


def of_class():
    return world(Classes((GONE,)))


def masked(model, by=5):
    fake = deepcopy(model)
    with torch.no_grad():
        fake[-1].bias[GONE] -= by
    return fake


def trial(after, found=None, references=...):
    parts, original, members = found or of_class()
    outcome = Outcome.of(original, after, parts, task=TASK)
    before, now = (snapshot(model, parts, TASK) for model in (original, after))
    return Trial(outcome, before, now, members if references is ... else references)


def measured(after, found=None, references=..., **settings):
    metric = Relearning(**{"runs": 2, "steps": 60, "lr": 1e-2, **settings})
    return {m.name: m for m in metric.measure(trial(after, found, references))}


@cache
def mask():
    return measured(masked(of_class()[1]), build=build)


def test_a_mask_comes_off_sooner_than_retrained_models_learn():
    steps, index = mask()[STEPS], mask()[INDEX]
    assert steps.original.value == 0
    assert 0 < steps.value < min(steps.target) / 2
    assert steps.comparison.difference.high < 0
    assert steps.comparison.p < 0.05
    assert steps.control.outside
    assert index.value == pytest.approx(steps.value / (sum(steps.target) / 4))
    assert 0 < index.value < 0.5 < min(index.target)


def test_a_mask_too_large_to_come_off_is_unlike_retraining_as_well():
    steps = measured(masked(of_class()[1], by=1e4))[STEPS]
    assert steps.value == 60
    assert steps.comparison.difference.low > 0
    assert steps.comparison.outside


def test_the_median_and_the_place_between_original_and_untrained_stand_beside_it():
    found = mask()
    median = found["median relearning steps, removed classes"]
    assert median.value <= found[STEPS].interval[1]
    between = found["relearning between original and untrained, removed classes"]
    assert 0 < between.value < min(between.target)
    curve = found[STEPS].exhibit.columns
    assert {*curve["model"]} == {"original", "unlearned", "retrained", "untrained"}
    assert set(map(len, curve.values())) == {len(curve["steps"])}


def test_a_retrained_model_is_not_told_from_the_others():
    _, original, members = of_class()
    *others, last = members.members
    found = measured(last.load(), references=References(tuple(others)))[STEPS]
    assert found.comparison.p > 0.05
    assert found.value == pytest.approx(mask()[STEPS].target[-1])
    assert original is of_class()[1]


def test_the_index_of_the_original_is_nothing_and_of_a_reference_against_itself_one():
    _, original, members = of_class()
    assert measured(deepcopy(original))[INDEX].value == 0
    alone = References(members.members[:1])
    assert measured(alone.members[0].load(), references=alone)[INDEX].value == 1


def test_the_share_is_of_other_models_than_the_one_that_is_shared():
    asked = []

    def lent(which, model):
        seen = snapshot(model, of_class()[0], TASK)
        return Reference(lambda: asked.append(which) or model, seen, which, 1.0, "")

    hidden, open_ = masked(of_class()[1]), deepcopy(of_class()[1])
    found = measured(hidden, references=References((lent(0, hidden), lent(1, open_))))
    assert asked == [0, 1]
    assert found[STEPS].target == (found[STEPS].value, 0)
    assert found[INDEX].value == 2  # of what the two need on average


def test_who_says_the_same_of_everything_has_learnt_nothing():
    parts, _, _ = of_class()
    parrot = nn.Linear(D, C)
    with torch.no_grad():
        parrot.weight.zero_()
        parrot.bias.copy_(torch.arange(C) == GONE)
    seen = snapshot(parrot, parts, TASK)
    exam = Exam.about(parts.test.source, seen.test, (GONE,), "", 20)
    assert len(exam.labels) == 40
    assert seen.test_removed.accuracy == 1
    assert exam.marks(parrot, TASK) == {"": 0}


def test_runs_that_never_come_so_far_are_censored_not_counted_as_if_they_had():
    found = measured(masked(of_class()[1]), lr=1e-9, steps=6)
    assert found[STEPS].value == 6
    assert found[STEPS].comparison is None  # nobody saw how retrained models differ
    assert "2 were not so far by then" in found[STEPS].note
    assert "8 of 8 of retrained models: raise steps" in found[STEPS].note
    median = found["median relearning steps, removed classes"]
    assert (median.value, median.status) == (None, "insufficient")
    assert found[STEPS].control is None


def test_without_references_nothing_is_compared():
    found = measured(masked(of_class()[1]), references=None)
    assert found[STEPS].value > 0
    assert (found[STEPS].comparison, found[STEPS].target) == (None, ())
    assert "no reference model" in found[INDEX].note
    between = found["relearning between original and untrained, removed classes"]
    assert "no way to build" in between.note


def test_single_samples_are_asked_about_themselves_of_retrained_models_too():
    gone = tuple(range(0, 60, 3))
    parts, original, members = world(Samples(gone))
    wrong = deepcopy(original)
    with torch.no_grad():
        wrong[-1].bias.copy_(torch.tensor([40.0, 0, 0, 0]))
    found = measured(wrong, (parts, original, members))
    assert next(iter(found)) == "relearning steps, removed samples"
    steps = found["relearning steps, removed samples"]
    assert steps.value > max(steps.target)
    assert len(steps.target) == 4
    assert "know at once" in found["anamnesis index, removed samples"].note


def test_every_one_of_several_classes_is_asked_about_by_itself():
    parts, original, members = world(Classes((1, GONE)))
    found = measured(masked(original), (parts, original, members))
    alone = [found[f"relearning steps, removed class {k}"] for k in (1, GONE)]
    assert alone[0].value == 0  # this class was never hidden
    assert 0 < alone[1].value < min(alone[1].target)
    assert alone[0].comparison.difference.high < 0


def test_a_request_for_both_has_lessons_of_each_kind():
    parts, original, _ = world(Classes((GONE,)), Samples((0, 1, 4, 5)))
    names = list(measured(masked(original), (parts, original, None), references=None))
    assert names[0] == STEPS
    assert "relearning steps, removed samples" in names


def test_nothing_of_it_stays():
    _, original, _ = of_class()
    after = masked(original)
    after[0].requires_grad_(requires_grad=False)
    weights, drawn = deepcopy(after.state_dict()), torch.get_rng_state()
    measured(after, references=None)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(weights[name], value) for name, value in after.state_dict().items())
    assert not after[0].weight.requires_grad


def test_a_class_that_the_original_never_knew_cannot_be_learnt_again():
    parts, original, members = of_class()
    found = measured(deepcopy(original), (parts, masked(original, by=99), members))
    assert list(found) == [STEPS]
    assert "did not know what left" in found[STEPS].note


def test_a_test_set_without_the_class_is_said():
    seen = trial(masked(of_class()[1]))
    kept = seen.after.test.only(seen.after.test.labels != GONE)
    after = Snapshot(seen.after.forget, seen.after.retain, kept, (GONE,))
    (found,) = Relearning().measure(Trial(seen.outcome, seen.before, after))
    assert "no sample of the removed classes" in found.note


def test_when_nobody_left_there_is_nothing_to_learn_again():
    seen = trial(masked(of_class()[1])).after
    none = Observation(seen.forget.ids[:0], seen.forget.logits[:0], seen.forget.labels[:0])
    empty = Trial(trial(build()).outcome, seen, Snapshot(none, seen.retain, seen.test))
    with pytest.raises(MissingInput, match="nobody left"):
        list(Relearning().measure(empty))


@pytest.mark.parametrize(
    "bad", [{"runs": 1}, {"batch": 1}, {"steps": 1}, {"share": 0.0}, {"known": 0}, {"every": 0}]
)
def test_a_course_that_can_show_nothing_is_refused(bad):
    with pytest.raises(BadSetting, match="can show nothing"):
        measured(masked(of_class()[1]), **bad)


def test_plain_steps_down_the_slope_are_another_course():
    found = measured(masked(of_class()[1]), optimizer="sgd", lr=0.1)
    assert 0 < found[STEPS].value < min(found[STEPS].target)


def test_references_are_taught_once_for_all_methods(monkeypatch):
    parts, original, references = of_class()
    metric = Relearning(runs=2, steps=20, build=build)
    beside = [one.load() for one in references.members[:2]]
    alone = [
        values(metric, Outcome.of(original, after, parts, task=TASK), renewed(references))
        for after in beside
    ]
    shared, asked = renewed(references), []
    runs = Lesson.runs
    monkeypatch.setattr(
        Lesson, "runs", lambda self, model, count: asked.append(model) or runs(self, model, count)
    )
    together = [
        values(metric, Outcome.of(original, after, parts, task=TASK), shared) for after in beside
    ]
    assert together == alone
    assert len(asked) == len(references) + 2 + 2  # original, untrained, and each method's


def renewed(references):
    return References(references.members)


def values(metric, outcome, references):
    seen = [snapshot(m, outcome.split, TASK) for m in (outcome.before, outcome.after)]
    return [m.value for m in metric.measure(Trial(outcome, *seen, references))]


def test_what_is_remembered_belongs_to_these_models_and_this_test_set():
    parts, original, references = of_class()
    metric, shared = Relearning(runs=2, steps=20, build=build), renewed(references)
    after, before = references.members[0].load(), deepcopy(original)
    values(metric, Outcome.of(before, after, parts, task=TASK), shared)
    elsewhere = replace(parts, test=replace(parts.test, source=data(TEST, 7)))
    for changed in (parts, elsewhere):
        with torch.no_grad():
            before[-1].bias.add_(0.01)  # in place, and still the same object
        outcome = Outcome.of(before, after, changed, task=TASK)
        assert values(metric, outcome, shared) == values(metric, outcome, renewed(references))
