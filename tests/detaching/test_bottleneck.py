"""The layer that erases: estimated anew from raw features, never on top of itself."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.algebra.erasure import columns
from expunge.detaching.bottleneck import narrowed
from expunge.detaching.surveying import survey
from expunge.erasing.inserting import Erasure
from expunge.unlearning import seeded


@pytest.fixture
def narrow(people, network):
    """The network with its layer, a hold on it, and the case."""
    case = people.case()
    with seeded(0):
        model, bottleneck = narrowed(network.eval(), case, survey(case), None)
    return model, bottleneck, case


def features(model, people):
    with torch.no_grad():
        return people.task.answer(model, (people.x, people.y, people.z)).embedding.double()


def told(x, people):
    """The largest covariance, in any class, of a feature with a group."""
    found = []
    for c in range(2):
        mine = people.y == c
        z = columns(people.z[mine], 3)
        found.append(((x[mine] - x[mine].mean(0)).mT @ (z - z.mean(0))).abs().max() / mine.sum())
    return max(found).item()


def test_inside_every_class_features_have_no_covariance_with_the_attribute(narrow, people, network):
    model, bottleneck, _ = narrow
    assert bottleneck.lost == 4  # two classes, three groups
    assert told(features(model, people), people) < 1e-6
    assert told(bottleneck.layer.map(network[:4](people.x).detach().double()), people) < 1e-6


def test_when_features_change_it_is_estimated_anew_and_takes_no_more_than_before(narrow, people):
    model, bottleneck, _ = narrow
    with torch.no_grad(), seeded(2):
        model[2].weight.add_(torch.randn_like(model[2].weight))
    assert told(features(model, people), people) > 1e-3
    bottleneck.renew(model)
    once = bottleneck.layer.map
    for _ in range(2):
        bottleneck.renew(model)
    assert bottleneck.lost == 4
    torch.testing.assert_close(bottleneck.layer.matrix, once.matrix)
    assert told(features(model, people), people) < 1e-6


def test_a_unit_that_never_varies_gives_nothing_away(narrow, people):
    model, bottleneck, _ = narrow
    with torch.no_grad():
        model[2].bias[5] = -100.0
    bottleneck.renew(model)
    erased = model[4].before(model[:4](people.x))
    assert (erased[:, 5] == erased[0, 5]).all()
    assert told(erased.detach().double(), people) < 1e-6


def test_what_an_earlier_request_erased_stays_erased(narrow, people):
    model, first, _ = narrow
    other = replace(people, z=(people.x[:, 3] > 0).long())
    second_case = other.case()
    with seeded(0):
        model, second = narrowed(model, second_case, survey(second_case), None)
    assert len([m for m in model.modules() if isinstance(m, Erasure)]) == 1
    assert second.layer is first.layer
    for _ in range(2):
        second.renew(model)
    x = features(model, people)
    assert told(x, people) < 1e-6
    assert second.lost == 2  # two classes, two groups


def test_the_head_is_fitted_to_the_features_that_are_left(narrow, people):
    model, bottleneck, _ = narrow
    with torch.no_grad():
        model[4].layer.weight.zero_()
    model = bottleneck.settle(model)
    right = (model(people.x).argmax(1) == people.y).double().mean()
    assert right > 0.85


def test_a_frozen_head_stays(people, network):
    network[4].requires_grad_(requires_grad=False)
    before, case = network[4].weight.clone(), people.case()
    model, _ = narrowed(network.eval(), case, survey(case), None)
    assert torch.equal(model[4].layer.weight, before)


def test_with_each_estimate_the_head_is_fitted_in_place(narrow, people):
    model, bottleneck, _ = narrow
    head = model[4].layer.weight
    with torch.no_grad():
        head.zero_()
    bottleneck.renew(model)
    assert model[4].layer.weight is head
    assert (model(people.x).argmax(1) == people.y).double().mean() > 0.85


def test_where_too_little_would_be_left_nothing_is_erased_and_a_note_says_so(people):
    with seeded(1):
        small = nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    case, before = people.case(), small(people.x)
    model, bottleneck = narrowed(small, case, survey(case), None)
    assert bottleneck is None
    (note,) = case.report.notes
    assert note.startswith("nothing was erased in closed form: that takes 4 of 6 directions")
    torch.testing.assert_close(model(people.x), before)


def test_features_carry_no_more_directions_than_were_allowed(people, network):
    case = people.case()
    with seeded(0):
        model, bottleneck = narrowed(network.eval(), case, survey(case), 2)
    x = features(model, people)
    sizes = torch.linalg.svdvals(x - x.mean(0))
    assert (sizes > 1e-5 * sizes[0]).sum() == 1 + 2  # one tells two classes
    assert told(x, people) < 1e-6
    assert bottleneck.lost == 4


@pytest.mark.parametrize(
    ("carry", "more"),
    [
        (0, ", and of 6 others features keep no more than those that tell the classes,"),
        (4, ", and of 6 others features keep the widest 4 beside those that tell the classes,"),
        (5, ""),  # and one that tells the classes
        (9, ""),
        (None, ""),
    ],
)
def test_it_tells_which_directions_are_kept_only_where_there_are_others(
    people, network, carry, more
):
    case = people.case()
    with seeded(0):
        _, bottleneck = narrowed(network.eval(), case, survey(case), carry)
    assert bottleneck.told == f"4 directions are erased{more}"


def test_without_classes_to_tell_apart_nothing_is_narrowed_and_nothing_told(people, network):
    case = people.case()
    with seeded(0):
        _, bottleneck = narrowed(network.eval(), case, survey(case, "nothing"), 0)
    assert bottleneck.told == "2 directions are erased"
    assert torch.linalg.matrix_rank(bottleneck.layer.matrix) == 11 - 2 - bottleneck.held


@pytest.mark.parametrize("count", [30, 40, 59])
def test_of_few_samples_features_are_not_held_because_they_are_few(make_people, network, count):
    some = make_people(count)
    case = some.case()
    with seeded(0):
        model, bottleneck = narrowed(network.eval(), case, survey(case), 0)
    assert bottleneck.held <= 1  # one varies in five samples
    assert (model(some.x).argmax(1) == some.y).double().mean() > 0.8


def test_a_feature_that_a_few_samples_make_vary_is_held_and_counted(people, network):
    with torch.no_grad():
        h = network[:3](people.x)[:, 5] - network[2].bias[5]
        network[2].bias[5] = -h.sort().values[-7]
        seen = network[:4](people.x)
    case = people.case()
    assert (seen[:, 5] > 0).sum() == 6
    with seeded(0):
        model, bottleneck = narrowed(network.eval(), case, survey(case))
    assert bottleneck.held == 2  # the network has another one
    assert (model[4].before(seen)[:, 5] == seen[:, 5].mean()).all()
