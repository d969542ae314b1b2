"""DUCK: where samples are sent, what holds the rest in place, and when it stops."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge import Classes, Classification, Samples
from expunge.errors import BadSetting, Diverged, MissingInput, ModelDoesNotFit
from expunge.method import Report
from expunge.methods import duck
from expunge.methods.duck import Duck
from expunge.observing import snapshot
from expunge.testing import toy
from expunge.unlearning import seeded, unlearn

TASK = Classification()


@pytest.fixture(scope="module")
def forgotten(blobs):
    """The blobs without their second class, by the presets; whoever wants more runs it again."""
    parts = blobs.split(Classes((1,)))
    return parts, unlearn(blobs.model, parts, Duck(), task=TASK, seed=4)


def test_a_class_of_blobs_is_forgotten_and_the_others_stay(blobs, forgotten):
    parts, outcome = forgotten
    before, after = (snapshot(m, parts, TASK) for m in (blobs.model, outcome.after))
    assert before.test_removed.accuracy > 0.95
    assert after.forget.accuracy <= 0.01
    assert after.test_removed.accuracy <= 0.03  # 200 samples: what chance makes of one percent
    assert after.test_kept.accuracy >= before.test_kept.accuracy - 0.01


def test_a_class_of_digits_is_forgotten_even_where_it_was_never_seen(threes):
    _, after = threes.unlearned(Duck())
    assert after.test_removed.accuracy <= 0.02
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.01


def plain(blobs, parts, how, steps):
    """Fine-tuning by hand, on the batches that the method would draw."""
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))
    model.load_state_dict(blobs.model.state_dict())
    case = blobs.case(parts)
    optimizer = torch.optim.Adam(model.parameters(), lr=how.lr)
    with seeded(0):
        draw(case, how)
        kept = replace(case.retain, size=160, shuffle=True).endless()
        leaving = replace(case.forget, size=32, shuffle=True)
        visits = (v for _ in range(99) for v in leaving.indexed())
        for _, _, (x, y) in zip(range(steps), visits, kept, strict=False):
            loss = how.retain_weight * F.cross_entropy(model(x) / how.temperature, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def draw(case, how):
    """What the watch draws before the first step."""
    duck.Watch(case, goal=how.goal)


def test_without_a_pull_it_is_plain_fine_tuning(blobs):
    parts = blobs.split(Samples(tuple(range(96))))
    how = Duck(distance_weight=0.0, epochs=2, lr=1e-3, warmup=0, check_every=99)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duck.Watch, "look", lambda *_: duck.Look(done=False, kept=1.0))
        after = unlearn(blobs.model, parts, how, task=TASK, seed=0).after
    for ours, theirs in zip(
        after.parameters(), plain(blobs, parts, how, 6).parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("count", [1, 31, 33, 97])
def test_every_forget_sample_is_visited_once_an_epoch(blobs, count):
    parts = blobs.split(Samples(tuple(range(count))))
    visits = Counter()
    inner = duck.Course.of

    def spied(self, ids):
        visits.update(ids.tolist())
        return inner(self, ids)

    never = duck.Look(done=False, kept=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duck.Course, "of", spied)
        patch.setattr(duck.Watch, "look", lambda *_: never)
        unlearn(blobs.model, parts, Duck(epochs=3, recovery=0, drawn=1.0), task=TASK)
    assert set(visits) == set(range(count))
    assert set(visits.values()) == {3}


def test_forget_and_retain_rows_share_one_forward_pass(blobs):
    parts, passes = blobs.split(Classes((1,))), []

    class Counting(Classification):
        def answer(self, model, batch):
            if torch.is_grad_enabled():
                passes.append(len(batch[0]))
            return super().answer(model, batch)

    outcome = unlearn(blobs.model, parts, Duck(recovery=0, epochs=2), task=Counting())
    assert len(passes) == len(outcome.traces["loss"])
    assert set(passes) <= {n + m for n in (28, 29, 32) for m in (133, 134, 160)}


def test_the_same_seed_gives_the_same_weights(blobs, forgotten):
    parts, once = forgotten
    again = unlearn(blobs.model, parts, Duck(), task=TASK, seed=4)
    for a, b in zip(once.after.parameters(), again.after.parameters(), strict=True):
        assert torch.equal(a, b)


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def test_looking_leaves_no_trace_in_batch_norm(make_blobs):
    data = make_blobs(normalised=True)
    parts = data.split(Classes((1,)))
    before = statistics(data.model)
    frozen = unlearn(data.model, parts, Duck(epochs=4), task=TASK).after
    for name, value in statistics(frozen).items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(("policy", "rows"), [("joint", 192), ("separate", 160)])
def test_running_statistics_move_once_a_step_and_never_by_looking(make_blobs, policy, rows):
    data = make_blobs(normalised=True)
    parts = data.split(Classes((1,)))
    how = Duck(batch_norm=policy, recovery=0, check_every=1, epochs=1)
    outcome = unlearn(data.model, parts, how, task=TASK)
    before, after = statistics(data.model), statistics(outcome.after)
    steps = len(outcome.traces["loss"])
    assert after["1.num_batches_tracked"] - before["1.num_batches_tracked"] == steps
    assert not torch.equal(after["1.running_mean"], before["1.running_mean"])
    assert rows > 0


def test_separate_statistics_never_take_in_what_must_go(make_blobs):
    data = make_blobs(normalised=True)
    x, _ = data.train.tensors
    parts = data.split(Classes((1,)))
    x[parts.forget.indices] += 100  # would throw any running mean off
    never = duck.Look(done=False, kept=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duck.Watch, "look", lambda *_: never)
        runs = {
            policy: unlearn(
                data.model, parts, Duck(batch_norm=policy, recovery=0, epochs=1), task=TASK
            )
            .after[1]
            .running_mean
            for policy in ("joint", "separate")
        }
    before = data.model[1].running_mean
    assert (runs["separate"] - before).abs().max() < 2
    assert (runs["joint"] - before).abs().max() > 6


def test_separate_statistics_of_one_sample_are_refused(make_blobs):
    data = make_blobs(normalised=True)
    with pytest.raises(BadSetting, match="no statistics of its own"):
        unlearn(data.model, data.split(Samples((4,))), Duck(batch_norm="separate"), task=TASK)


@pytest.mark.parametrize("name", ["epochs", "batch", "retain_per_forget", "check_every"])
def test_a_setting_of_nothing_is_refused(blobs, name):
    with pytest.raises(BadSetting, match=name):
        unlearn(blobs.model, blobs.split(Classes((1,))), Duck(**{name: 0}), task=TASK)


def test_without_validation_data_it_says_that_nothing_told_it_when_to_stop(blobs):
    parts = blobs.split(Samples(tuple(range(40))), validation=False)
    outcome = unlearn(blobs.model, parts, Duck(), task=TASK)
    assert any("no validation data" in note for note in outcome.notes)
    assert "retain accuracy" in outcome.traces
    assert "validation accuracy" not in outcome.traces


def test_a_class_needs_no_validation_data_to_stop(blobs):
    parts = blobs.split(Classes((1,)), validation=False)
    outcome = unlearn(blobs.model, parts, Duck(), task=TASK)
    assert not any("no validation data" in note for note in outcome.notes)
    assert outcome.traces["forget accuracy"][-1][1] <= 0.01


def test_a_floor_under_what_stays_ends_the_forgetting(blobs):
    parts = blobs.split(Classes((1,)))
    how = Duck(lr=0.3, retain_weight=0.0, check_every=1, floor=0.2)
    outcome = unlearn(blobs.model, parts, how, task=TASK)
    seen = dict(outcome.traces["validation accuracy"])
    stopped = max(seen)
    assert (
        any("before the goal was reached" in note for note in outcome.notes)
        or seen[stopped] >= seen[0] - 0.2
    )


def test_features_that_are_not_finite_are_refused(blobs):
    class Broken(nn.Module):
        def forward(self, x):
            return x / torch.zeros_like(x)

    model = nn.Sequential(nn.Linear(2, 4), Broken(), nn.Linear(4, 3))
    with pytest.raises(Diverged, match="200 of 200 samples with numbers that are not") as told:
        unlearn(model, blobs.split(Classes((1,))), Duck(), task=TASK)
    assert "feature layer" in str(told.value.__cause__)


def test_a_model_without_a_last_linear_is_told_to_name_a_layer(blobs):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 2))

        def forward(self, x):
            return F.linear(x, self.weight)

    with pytest.raises(MissingInput, match="features are needed"):
        unlearn(Odd(), blobs.split(Classes((1,))), Duck(), task=TASK)


@pytest.fixture
def recovered(blobs):
    """A run whose looks after the forgetting say whether the goal still holds, and its weights."""
    parts = blobs.split(Classes((1,)))
    start, there, back = (duck.Look(done=done, kept=1.0) for done in (False, True, False))

    def run(holds="", **settings):
        looks = iter([start, there, there, *(there if hold == "y" else back for hold in holds)])
        how = Duck(check_every=1, **settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(duck.Watch, "look", lambda *_: next(looks))
            outcome = unlearn(blobs.model, parts, how, task=TASK, seed=0)
        return outcome, torch.cat([p.flatten() for p in outcome.after.parameters()])

    return run


def test_recovery_is_taken_back_to_where_the_forgotten_was_gone(recovered):
    _, bare = recovered(recovery=0)
    outcome, found = recovered("nnnn", recovery=4)
    assert "recovery was taken back to step 0: more would have undone the goal" in outcome.notes
    assert torch.equal(found, bare)
    outcome, found = recovered("yynn", recovery=4)
    assert "recovery was taken back to step 2: more would have undone the goal" in outcome.notes
    assert not torch.equal(found, bare)


def test_recovery_that_reaches_the_goal_again_is_kept(recovered):
    outcome, found = recovered("nny", recovery=3)
    assert not any("taken back" in note for note in outcome.notes)
    assert not torch.equal(found, recovered("nnn", recovery=3)[1])


def test_augmentation_touches_retained_samples_of_recovery_alone(blobs):
    parts, seen = blobs.split(Classes((1,))), []

    def augment(batch):
        seen.append(batch[1])
        return batch

    unlearn(blobs.model, parts, Duck(augment=augment, recovery=7, epochs=1), task=TASK)
    assert len(seen) == 7
    assert not any((labels == 1).any() for labels in seen)


def test_classes_and_samples_may_leave_together(blobs):
    parts = blobs.split(Classes((1,)), Samples((0, 2, 3, 5)))
    outcome = unlearn(blobs.model, parts, Duck(lr=2e-3, epochs=60), task=TASK)
    after = snapshot(outcome.after, parts, TASK)
    gone = after.forget.labels == 1
    assert after.forget.only(gone).accuracy <= 0.05


def test_a_frozen_network_is_refused():
    problem = toy()
    problem.model.requires_grad_(requires_grad=False)
    with pytest.raises(ModelDoesNotFit, match="no parameter that may learn"):
        unlearn(problem.model, problem.split, Duck(), task=problem.task)


def test_progress_knows_how_many_steps_there_may_be(blobs):
    parts, said = blobs.split(Classes((1,))), []
    how = Duck(recovery=0, goal=0.9)  # which is soon reached
    unlearn(blobs.model, parts, how, task=TASK, progress=lambda *a: said.append(a))
    assert {total for _, _, total in said} == {143 * 7}  # a thousand steps, in whole epochs
    assert Report().total == 0
