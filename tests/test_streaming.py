"""A stream of removals: who is told what, what is taken back, and what the notes say."""

from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Request, Samples, split
from expunge.batching import Batches
from expunge.errors import Diverged
from expunge.guarding import Guard
from expunge.method import Case, Report
from expunge.resuming import Trail
from expunge.streaming import Stream

N, D, C = 40, 4, 3
GONE = (2, 3, 5, 8, 13, 21, 34)


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class World:
    """A network with a BatchNorm that is always right, and samples that are to leave it."""

    def __init__(self, gone=GONE, n=N, drop=0.05):
        self.model = nn.Sequential(nn.Linear(D, 6), nn.BatchNorm1d(6), nn.Linear(6, C)).eval()
        x = torch.randn(n, D)
        self.data = TensorDataset(x, self.model(x).argmax(1))
        parts = split(self.data, Request(Samples(gone)), test=self.data, validation=self.data)
        self.ticks = []
        report = Report(lambda *tick: self.ticks.append(tick))
        forget, retain, aside = (Batches(p) for p in (parts.forget, parts.retain, parts.validation))
        self.case = Case(parts.targets, forget, retain, aside, Classification(), report)
        guard = Guard.of(self.model, self.case)
        self.stream = Stream(self.model, self.case, guard, Trail(None, ""), drop, Counter())

    @property
    def notes(self):
        return self.case.report.notes

    def run(self, step, at_once=1):
        """Run the stream; every group as the step saw it."""
        seen = []

        def watched(leaving):
            seen.append(leaving)
            return step(leaving)

        self.stream.run(watched, at_once)
        return seen

    def nudge(self, _leaving):
        """A step that does no harm."""
        with torch.no_grad():
            self.model[0].bias += 1e-4
        return True

    def wreck(self, _leaving):
        """A step after which all answers are the same."""
        with torch.no_grad():
            self.model[2].weight.zero_()
        return True

    def bits(self):
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def unchanged(self, before):
        return all(torch.equal(v, before[name]) for name, v in self.model.state_dict().items())


@pytest.mark.parametrize(
    ("at_once", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (0, [7]), (7, [7]), (9, [7])]
)
def test_all_that_must_go_is_told_in_order_and_counted_out(at_once, sizes):
    world = World()
    seen = world.run(world.nudge, at_once)
    assert [len(leaving.ids) for leaving in seen] == sizes
    assert torch.cat([leaving.ids for leaving in seen]).tolist() == [*GONE]
    left = [N - sum(sizes[: k + 1]) for k in range(len(sizes))]
    assert [leaving.left for leaving in seen] == left
    assert world.notes == ["7 of 7 samples were taken out"]


def test_those_who_wait_are_who_comes_later_and_who_was_passed_over():
    """The second is refused, the third leaves nothing to move: both still count as in the model."""
    world = World()
    said = iter([True, False, None, True, True, True, True])
    seen = world.run(lambda _: next(said))
    waiting = [sorted(leaving.waiting.tolist()) for leaving in seen]
    assert waiting[0] == [3, 5, 8, 13, 21, 34]
    assert waiting[2] == [3, 8, 13, 21, 34]
    assert waiting[3] == [3, 5, 13, 21, 34]
    assert waiting[-1] == [3, 5]
    assert [leaving.left for leaving in seen] == [33 + len(some) for some in waiting]


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_group_pulls_with_the_gradient_of_the_sum_of_its_losses(at_once):
    world = World()
    (leaving, *_) = world.run(lambda _: None, at_once)
    x, y = world.data[list(GONE[:at_once])]
    loss = nn.functional.cross_entropy(world.model(x), y, reduction="sum")
    loss.backward()
    for name, parameter in world.model.named_parameters():
        torch.testing.assert_close(leaving.gradient[name], parameter.grad)
    length = torch.cat([p.grad.flatten() for p in world.model.parameters()]).norm()
    assert leaving.loss == pytest.approx(loss.item() / at_once)
    assert leaving.norm == pytest.approx(length.item() / at_once)


def test_loss_and_gradient_are_drawn_before_and_after_every_step():
    world = World()
    world.run(world.nudge, 2)
    traces = world.case.report.traces
    for name in ("before loss", "before gradient", "after loss", "after gradient"):
        assert [step for step, _ in traces[name]] == [1, 3, 5, 7]
    before, after = (dict(traces[name]) for name in ("before loss", "after loss"))
    assert all(before[step] != after[step] for step in before)
    assert [step for step, _ in traces["validation accuracy"]] == [0, 1, 3, 5, 7]


def test_a_step_that_would_not_forget_is_named_and_leaves_every_bit():
    world = World()
    before = world.bits()
    said = iter([True, False, True, True, False, True, True])
    world.run(lambda _: next(said))
    assert world.unchanged(before)
    assert "retrain for samples 2, 5 of the 7 that must go" in world.notes[0]
    assert world.notes[1:] == ["5 of 7 samples were taken out"]


def test_a_step_that_costs_too_much_is_taken_back_bit_for_bit():
    world = World()
    steps = iter([world.nudge, world.wreck, *[world.nudge] * 5])
    kept = []

    def step(leaving):
        kept.append(world.bits())
        return next(steps)(leaving)

    world.run(step)
    assert all(torch.equal(kept[1][name], kept[2][name]) for name in kept[1])
    assert not torch.equal(kept[0]["0.bias"], kept[1]["0.bias"])
    assert "retrain for sample 2 of the 7 that must go" in world.notes[0]


def test_what_may_be_lost_is_counted_from_the_start_and_not_from_step_to_step(monkeypatch):
    world = World(drop=0.5)
    looks = iter([0.8, 0.6, 0.45, 0.7, 0.51, 0.49, 0.9])
    monkeypatch.setattr(Guard, "use", lambda *_: next(looks))
    world.run(world.nudge)
    assert "retrain for samples 3, 6 of the 7 that must go" in world.notes[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_taken_back(value):
    world = World()
    before = world.bits()

    def burst(_leaving):
        with torch.no_grad():
            world.model[2].bias[1] = value
        return True

    world.run(burst, 0)
    assert world.unchanged(before)
    assert "retrain for samples 1, 2, 3, 4, 5, 6, 7 of the 7 that must go" in world.notes[0]


def test_answers_that_are_not_finite_are_taken_back():
    world = World()
    before = world.bits()

    def swell(_leaving):
        with torch.no_grad():
            world.model[0].weight.mul_(1e30)
            world.model[2].weight.mul_(1e30)
        return True

    world.run(swell, 0)
    assert world.unchanged(before)
    assert world.notes[-1] == "0 of 7 samples were taken out"


def test_samples_that_leave_nothing_to_move_are_named_too():
    world = World()
    said = iter([None, True, None, *[True] * 4])
    world.run(lambda _: next(said))
    assert world.notes == [
        "nothing moved for samples 1, 3 of the 7 that must go: their loss never changed",
        "5 of 7 samples were taken out",
    ]


def test_of_many_samples_twenty_are_named_by_their_places_and_none_by_its_position():
    world = World(gone=tuple(range(100, 130)), n=200)
    world.run(lambda _: False)
    named = ", ".join(map(str, range(1, 21)))
    assert f"retrain for samples {named} and 10 more of the 30 that must go" in world.notes[0]


def test_a_loss_that_is_not_finite_ends_the_run():
    world = World()
    world.data.tensors[0][5] = torch.nan
    with pytest.raises(Diverged, match="the loss is nan at step 3"):
        world.run(world.nudge)


@pytest.mark.parametrize(("at_once", "steps"), [(1, 7), (3, 3), (0, 1)])
def test_progress_counts_groups(at_once, steps):
    world = World()
    world.run(world.nudge, at_once)
    assert world.ticks == [("unlearn", k + 1, steps) for k in range(steps)]


def test_retained_samples_are_looked_at_now_and_then():
    world = World(gone=tuple(range(0, 120, 2)), n=200)
    world.run(world.nudge)
    steps = [step for step, _ in world.case.report.traces["retain accuracy"]]
    assert steps == [*range(0, 61, 3)]
