"""What DUCK says of itself: the values behind settings that nobody chose, and how it ended."""

import pytest
import torch

from expunge import Classes, Classification, Samples
from expunge.method import Report
from expunge.methods import duck
from expunge.methods.duck import Duck
from expunge.unlearning import unlearn

TASK = Classification()
LEFT_OPEN = {"epochs", "lr", "warmup", "drawn", "batch_norm", "check_every"}
READ = {"epochs": int, "warmup": int, "check_every": int, "batch_norm": str}
TARGETS = {"class": Classes((1,)), "samples": Samples(tuple(range(80)))}


def settled(outcome):
    """The values of the note that tells them, read back."""
    said = [n.partition(": ")[2] for n in outcome.notes if n.startswith("used where nothing")]
    pairs = (pair.split(" = ") for note in said for pair in note.split(", "))
    return {name: READ.get(name, float)(value) for name, value in pairs}


@pytest.fixture(scope="module")
def run(make_blobs):
    """Unlearn where a tenth of unseen samples is not known, and the goal is reached or never is."""
    data = make_blobs(normalised=True)

    def unlearned(target, how, *, reached=True, validation=True):
        start = duck.Look(done=False, kept=1.0, missed=0.1)
        looks = iter([start])
        later = duck.Look(done=reached, kept=1.0)
        parts = data.split(target, validation=validation)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(duck.Watch, "look", lambda *_: next(looks, later))
            patch.setattr(duck, "_STEPS", 40)
            return unlearn(data.model, parts, how, task=TASK, seed=2)

    return unlearned


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_it_says_it_used_gives_the_same_weights_when_set_by_hand(run, target):
    left = run(target, Duck())
    told = settled(left)
    assert set(told) == LEFT_OPEN
    chosen = run(target, Duck(**told))
    assert not settled(chosen)
    ours, theirs = (outcome.after.state_dict().values() for outcome in (left, chosen))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_scenarios_differ_in_what_is_used(run):
    gone, some = (settled(run(target, Duck(recovery=0))) for target in TARGETS.values())
    assert {name for name in LEFT_OPEN if gone[name] == some[name]} == set()
    assert (gone["drawn"], some["drawn"]) == (1.0, 0.125)


def test_of_few_single_samples_all_are_drawn_and_told_to_be(run):
    outcome = run(Samples(tuple(range(40))), Duck(recovery=0))
    assert settled(outcome)["drawn"] == 1.0
    assert not any("were drawn" in note for note in outcome.notes)


def test_a_run_that_never_reaches_its_goal_takes_the_epochs_that_it_tells(run):
    outcome = run(TARGETS["samples"], Duck(recovery=0, batch=3), reached=False)
    assert any(note.startswith("10 of 80 forget samples") for note in outcome.notes)
    assert len(outcome.traces["loss"]) == 4 * settled(outcome)["epochs"] == 40


def test_without_validation_data_five_epochs_over_all_are_told(run):
    outcome = run(TARGETS["samples"], Duck(recovery=0), reached=False, validation=False)
    told = settled(outcome)
    assert (told["epochs"], told["drawn"]) == (5, 1.0)
    assert len(outcome.traces["loss"]) == 5 * 3


def test_what_was_set_is_not_told_again(run):
    outcome = run(TARGETS["class"], Duck(lr=1e-3, epochs=9, recovery=0))
    assert set(settled(outcome)) == LEFT_OPEN - {"lr", "epochs"}


@pytest.mark.parametrize(("target", "step"), [("class", 20), ("samples", 30)])
def test_the_step_that_reached_the_goal_is_told(run, target, step):
    outcome = run(TARGETS[target], Duck(recovery=0))
    assert f"the goal was reached at step {step}" in outcome.notes
    assert len(outcome.traces["loss"]) == step


def test_a_method_that_settled_nothing_says_nothing():
    report = Report()
    report.settled({})
    assert report.notes == []
