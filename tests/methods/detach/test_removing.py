"""What held-out probes lose when Detach is done, what the task keeps, and what is told."""

import json

import pytest
import torch

from expunge.algebra.families import linear
from expunge.fitting import Fit
from expunge.methods.detach import Detach
from expunge.unlearning import seeded


def looked(toy, model, people):
    """Accuracy, and bits that fresh probes find in the features beyond the label."""
    x, y, z = people.data.tensors
    with torch.no_grad():
        answer = toy.read().answer(model.eval(), (x, y, z))
    right = answer.logits.argmax(1) == y
    return right.double().mean().item(), toy.gained(answer.embedding, z, y)


@pytest.fixture(scope="module")
def trained(toy):
    people = toy.drawn(500)
    with seeded(1):
        return people, Fit(8, 0.05, 60)(toy.network(), people.data)


@pytest.fixture(scope="module")
def before(toy, trained):
    others = toy.drawn(700, seed=5)
    return others, looked(toy, trained[1], others)


@pytest.mark.parametrize(("erase", "lr", "share"), [(True, 0.02, 0.3), (False, 0.05, 0.5)])
def test_fresh_probes_find_little_beyond_the_label_and_the_task_stays(
    toy, trained, before, erase, lr, share
):
    people, original = trained
    found = toy.outcome(people, model=original, epochs=5, lr=lr, strength=5.0, erase=erase)
    others, (use, leak) = before
    now, left = looked(toy, found.after, others)
    assert leak > 0.3
    assert left < share * leak
    assert now > use - 0.03


def test_the_epoch_that_is_kept_is_one_that_held_out_probes_chose(toy, trained, monkeypatch):
    monkeypatch.setattr("expunge.detaching.witnessing._PROBES", (linear,))
    people, original = trained
    found = toy.outcome(people, model=original, aside=toy.drawn(150, seed=5), epochs=2)
    leaks = found.traces["held-out leak in bits"]
    assert [epoch for epoch, _ in leaks] == [0, 1, 2]
    assert any("of 2 was kept: held-out probes find" in note for note in found.notes)


def test_notes_say_what_was_done_what_critics_know_and_what_it_cost(toy):
    notes = "\n".join(toy.outcome(epochs=2).notes)
    for word in ("'ink' is 3 groups", "directions are erased", "critics knew", "cost: 2 epochs"):
        assert word in notes
    assert "the last was kept" in notes  # nobody set validation data aside
    settings = Detach(cuts=("1",), paper=(1.0, 0.5, 1.5)).describe()
    assert json.loads(json.dumps(settings))["paper"] == [1.0, 0.5, 1.5]


@pytest.mark.parametrize("cuts", [0, ("1",)])
def test_the_same_seed_gives_the_same_bits(toy, cuts):
    one, other = (toy.weights(toy.outcome(cuts=cuts).after) for _ in range(2))
    assert torch.equal(one, other)


def test_the_papers_weights_are_understood(toy):
    paper, ours = (
        toy.outcome(paper=(2.0, 0.5, 1.5)),
        toy.outcome(keep_x=1.0, keep_y=1.0, strength=2.0),
    )
    assert torch.equal(toy.weights(paper.after), toy.weights(ours.after))


@pytest.mark.parametrize("estimator", ["vclub", "minmax", "reversal"])
@pytest.mark.parametrize("condition", ["task", "nothing"])
def test_every_estimator_learns_with_and_without_the_label(toy, estimator, condition):
    found = toy.outcome(estimator=estimator, condition_on=condition)
    assert not torch.equal(toy.weights(found.before), toy.weights(found.after))
