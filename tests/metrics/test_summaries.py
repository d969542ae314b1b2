"""Numbers that sum up a distance to retraining: tug of war, average gap, likeness to chance."""

from math import log

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Outcome, Request, Samples, split
from expunge.algebra.efficacy import efficacy
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.avg_gap import AvgGap, average_gap
from expunge.metrics.tug_of_war import TugOfWar, tug_of_war
from expunge.metrics.zrf import Zrf, zrf
from expunge.observing import Observation, Snapshot

GONE, N, TEST, C = 40, 140, 80, 10
PARTS = split(
    TensorDataset(torch.arange(N * 5.0).view(N, 5) / 100, torch.arange(N) % C),
    Request(Samples(tuple(range(GONE)))),
    test=TensorDataset(torch.zeros(TEST, 5), torch.arange(TEST) % C),
)


def seen(right, sure=3.0):
    """Answers of which so many are right on each set, all equally sure."""
    found = []
    for part, count in zip((PARTS.forget, PARTS.retain, PARTS.test), right, strict=True):
        labels = part.indices % C
        said = torch.where(torch.arange(len(part)) < count, labels, (labels + 1) % C)
        logits = torch.zeros(len(part), C).scatter(1, said[:, None], sure)
        found.append(Observation(part.indices, logits, labels))
    return Snapshot(*found)


def trial(after, before, references):
    model = nn.Linear(5, C)
    members = [Reference(lambda: model, s, k, 1.0, "") for k, s in enumerate(references)]
    outcome = Outcome.of(model, model, PARTS, task=Classification())
    return Trial(outcome, before, after, References(tuple(members)) if members else None)


def measured(metric, after, before, *references):
    return {m.name: m for m in metric.measure(trial(after, before, references))}


def test_published_values_come_out():
    rates, usual = torch.tensor([0.92, 0.99, 0.915]), torch.tensor([0.94, 1.0, 0.9])
    assert tug_of_war(rates.double(), usual.double()) == pytest.approx(0.955647, abs=1e-6)
    points = torch.tensor([2.0, -1.0, 1.5, -3.0]).double() / 100
    assert average_gap(points, torch.zeros(4).double()) == pytest.approx(1.875)


def test_a_tug_of_war_is_lost_by_remembering_and_by_losing_everything():
    retrained, original = seen((20, 100, 60)), seen((40, 100, 60))
    lost = measured(TugOfWar(), seen((0, 10, 8)), original, retrained)["ToW"]
    same = measured(TugOfWar(), seen((20, 100, 60)), original, retrained)["ToW"]
    assert same.value == 1
    assert "the original's is 0.500" in same.note
    assert lost.value == pytest.approx((1 - 0.5) * (1 - 0.9) * (1 - 0.65))


def test_beside_it_stands_what_each_reference_scores_against_the_others():
    theirs = seen((20, 100, 60)), seen((24, 100, 60)), seen((28, 100, 60))
    found = measured(TugOfWar(), theirs[0], seen((40, 100, 60)), *theirs)["ToW"]
    assert found.value == pytest.approx(1 - 0.1)
    assert found.target == pytest.approx((1 - 0.15, 1, 1 - 0.15))
    alone = measured(TugOfWar(), theirs[0], seen((40, 100, 60)), theirs[1])["ToW"]
    assert alone.target == ()


def test_an_attack_takes_the_place_of_the_forget_accuracy():
    retrained, original = seen((20, 90, 30)), seen((40, 90, 30))
    found = measured(TugOfWar(), original, original, retrained)["ToW-MIA"]
    order = [efficacy(s.retain.confidence, s.test.confidence, s.forget.confidence)
             for s in (original, retrained)]  # fmt: skip
    assert order[0] < order[1]  # the original's forgotten samples look like any it was trained on
    assert found.value == pytest.approx(1 - (order[1] - order[0]), abs=0.05)


def test_an_average_gap_names_its_parts():
    retrained, after = seen((20, 100, 60)), seen((24, 98, 56))
    found = measured(AvgGap(), after, seen((40, 100, 60)), retrained)["average gap (points)"]
    told = [float(part.rsplit(" ", 1)[1]) for part in found.note.split(";")[0].split(", ")]
    assert told[:3] == [10.0, -2.0, -5.0]
    assert found.value == pytest.approx(sum(map(abs, told)) / 4, abs=0.05)


@pytest.mark.parametrize("metric", [TugOfWar(), AvgGap()])
def test_without_references_or_anybody_who_left_there_is_no_distance(metric):
    some = seen((1, 2, 3))
    with pytest.raises(MissingInput, match="no reference model"):
        measured(metric, some, some)
    empty = some.about(torch.tensor([-1]))
    with pytest.raises(MissingInput, match="nobody left"):
        measured(metric, empty, empty, some)


def test_likeness_to_chance_is_in_bits():
    one_hot, uniform = torch.eye(10)[:1].double(), torch.full((1, 10), 0.1).double()
    assert zrf(one_hot, uniform[None]).item() == pytest.approx(0.241723, abs=1e-6)
    assert zrf(uniform, uniform[None]).item() == pytest.approx(1)
    assert zrf(one_hot, one_hot.roll(1, 1)[None]).item() == pytest.approx(0, abs=1e-12)
    assert 1 - log(2) > 0.3  # where the logarithm is natural, it cannot fall below this


def test_several_teachers_are_averaged():
    told = torch.tensor([[0.7, 0.3]]).double()
    teachers = torch.tensor([[[0.7, 0.3]], [[0.0, 1.0]]]).double()
    each = [zrf(told, teacher[None]).item() for teacher in teachers]
    assert each[0] > each[1]
    assert zrf(told, teachers).item() == pytest.approx(sum(each) / 2)


def flat():
    """An untrained model that leans nowhere."""
    model = nn.Linear(5, C)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


def test_like_chance_where_retrained_models_are_sure_is_told_as_unlike_them():
    sure, vague = seen((38, 100, 60), sure=9.0), seen((38, 100, 60), sure=0.1)
    (found,) = measured(Zrf(build=flat), vague, sure, sure, sure, seen((36, 99, 60), 9.0)).values()
    assert found.value > 0.99
    assert max(found.target) < 0.3
    assert found.comparison.outside
    assert found.control.inside
    assert found.goal == "match"


def test_teachers_see_the_samples_in_the_order_of_their_ids():
    asked = []

    class Asking(nn.Module):
        def forward(self, x):
            asked.append(x)
            return x @ torch.ones(5, C)

    some = seen((20, 100, 60))
    straight = measured(Zrf(build=Asking, teachers=1), some, some)["ZRF"]
    torch.testing.assert_close(asked[0], PARTS.forget.source.tensors[0][:GONE])
    mixed = Snapshot(some.forget.only(torch.arange(GONE).flip(0)), some.retain, some.test)
    again = measured(Zrf(build=Asking, teachers=1), mixed, some)["ZRF"]
    assert straight.value == pytest.approx(again.value)


def test_without_a_way_to_build_or_anybody_who_left_nothing_is_like_chance():
    some = seen((1, 2, 3))
    with pytest.raises(MissingInput, match="no way to build"):
        measured(Zrf(), some, some)
    empty = some.about(torch.tensor([-1]))
    with pytest.raises(MissingInput, match="nobody left"):
        measured(Zrf(build=flat), empty, empty)
