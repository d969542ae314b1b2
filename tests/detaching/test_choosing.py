"""Which epoch is kept, and by what witnesses."""

import pytest
import torch
from torch import nn

from expunge.algebra.families import linear
from expunge.detaching.choosing import Choice, best
from expunge.detaching.surveying import survey
from expunge.detaching.witnessing import Look, Witnesses
from expunge.errors import MissingInput
from expunge.unlearning import seeded

ORIGINAL = Look(0, use=0.9, leak=0.4)


def epochs(*pairs):
    return [Look(k + 1, use, leak) for k, (use, leak) in enumerate(pairs)]


def chosen(looks, original=ORIGINAL, floor=0.01):
    return best(looks, original, floor).epoch


@pytest.fixture
def _light(monkeypatch):
    """Witnesses that draw lines alone: what small networks find beside them is asked once."""
    monkeypatch.setattr("expunge.detaching.witnessing._PROBES", (linear,))


@pytest.mark.parametrize(
    ("looks", "kept"),
    [
        (epochs((0.9, 0.3), (0.895, 0.1), (0.87, 0.0)), 2),  # the third lost too much
        (epochs((0.8, 0.3), (0.7, 0.1)), 2),  # all did
        (epochs((0.9, 0.101), (0.91, 0.109), (0.92, 0.2)), 2),  # as good as equal: the later
        (epochs((0.9, 0.1), (0.9, 0.1)), 2),  # equal: the later
    ],
)
def test_the_least_leak_is_kept_among_those_that_are_of_use(looks, kept):
    assert chosen(looks) == kept


def test_of_models_that_tell_as_little_the_last_that_is_of_use_is_kept():
    looks = epochs((0.905, 0.0), (0.895, 0.01), (0.891, 0.0), (0.88, 0.0), (0.9, 0.1))
    assert chosen(looks) == 3  # the fourth lost too much, and the fifth tells more


def test_of_a_loss_the_floor_is_a_share():
    looks = epochs((-2.1, 0.2), (-2.3, 0.0))
    assert chosen(looks, Look(0, -2.0, 0.5), floor=0.1) == 1


def test_a_grain_is_measured_from_the_least_wherever_that_lies():
    looks = epochs((0.9, 0.0149), (0.99, 0.0151))
    assert chosen(looks, Look(0, 0.9, 0.1)) == 2  # bins of a grain would have an edge between them
    assert chosen(epochs((0.9, 0.01), (0.99, 0.016)), Look(0, 0.9, 0.1)) == 1


def test_whatever_looks_are_to_come_the_model_that_is_chosen_in_the_end_was_kept(
    make_people, monkeypatch
):
    """Only one model is kept: a look may put the best so far out of reach, if it is better."""
    case = make_people().case(validation=make_people(1))
    generator, outcomes = torch.Generator().manual_seed(0), set()
    for _ in range(200):
        pairs = torch.rand(6, 2, generator=generator).mul(torch.tensor([0.05, 0.1])).tolist()
        looks = epochs(*((0.88 + use, leak) for use, leak in pairs))
        monkeypatch.setattr(Witnesses, "look", lambda _, _model, epoch, of=looks: of[epoch - 1])
        choice = Choice(case, 0.01, Witnesses(case, case.validation, ()), ORIGINAL)
        model = nn.Linear(1, 1)
        for epoch in range(1, 7):
            nn.init.constant_(model.bias, epoch)
            choice.consider(model, epoch)
        choice.restore(model)
        assert model.bias.item() == chosen(looks)
        outcomes.add(chosen(looks))
    assert len(outcomes) > 3


class Shown(nn.Module):
    """A model whose features are its inputs."""

    def __init__(self, seen):
        super().__init__()
        self.seen, self.head = seen, nn.Linear(7, 2)

    def forward(self, x):
        return self.head(x * self.seen)


def test_witnesses_find_what_held_out_features_tell_and_nothing_where_there_is_nothing(make_people):
    people, aside = make_people(), make_people(500, seed=1)
    case = people.case(validation=aside)
    with seeded(0):
        witnesses = Witnesses.of(case, survey(case))
        told = [witnesses.look(Shown(seen), 0).leak for seen in (1.0, 0.0)]
    assert told[0] > 0.5
    assert told[1] < 0.02


@pytest.mark.usefixtures("_light")
def test_one_sample_far_out_spoils_no_finding(make_people):
    people, aside = make_people(), make_people(500, seed=1)
    aside.x[3] *= 1e4
    aside.x[8] *= -1e4
    case = people.case(validation=aside)
    with seeded(0):
        assert Witnesses.of(case, survey(case)).look(Shown(1.0), 0).leak > 0.5


@pytest.mark.parametrize("count", [0, 30])
def test_without_enough_validation_samples_nobody_chooses(make_people, network, count):
    people = make_people()
    case = people.case(validation=make_people(count, seed=1) if count else None)
    choice = Choice.of(network, case, survey(case), floor=0.01)
    choice.consider(network, 1)
    choice.restore(network)
    choice.tell(network, 1)
    assert choice.looks == []
    assert "the last was kept" in case.report.notes[0]


@pytest.mark.usefixtures("_light")
def test_the_best_model_comes_back_with_its_numbers(make_people):
    people = make_people()
    case, model = people.case(validation=make_people(500, seed=1)), Shown(1.0)
    with seeded(0):
        choice = Choice.of(model, case, survey(case), floor=1.0)
        for epoch, seen in enumerate((0.3, 0.0, 1.0)):
            model.seen = seen
            with torch.no_grad():
                model.head.bias.fill_(float(epoch))
            choice.consider(model, epoch)
        choice.restore(model)
        choice.tell(model, 2)
    assert model.head.bias.tolist() == [1, 1]
    assert [step for step, _ in case.report.traces["held-out leak in bits"]] == [0, 1, 2]
    assert "epoch 1 of 2 was kept" in case.report.notes[0]


def test_a_model_without_features_is_refused(make_people):
    class Bare(nn.Module):
        def forward(self, x):
            return x[:, :2].cumsum(1)

    case = make_people().case(validation=make_people(500, seed=1))
    with pytest.raises(MissingInput, match="gives none"):
        Choice.of(Bare(), case, survey(case), floor=0.01)
