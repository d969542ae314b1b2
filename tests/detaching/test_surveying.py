"""What is counted before any model is asked, and what is refused."""

from dataclasses import replace
from math import log

import pytest
import torch

from expunge import Classification, MultiLabel, Regression
from expunge.detaching.attributes import Number
from expunge.detaching.grouping import Alike
from expunge.detaching.surveying import survey
from expunge.errors import RequestDoesNotFit


def test_groups_are_counted_from_zero_by_whatever_numbers_they_have(people):
    odd = replace(people, z=torch.tensor([4, 9, 11])[people.z])
    (found,) = survey(odd.case()).attributes
    assert found.read(torch.tensor([9, 4, 11, 5, -1])).tolist() == [1, 0, 2, -1, -1]
    assert torch.equal(found.read(odd.z), people.z)


def test_how_much_there_is_to_know_depends_on_what_is_known_beforehand(people):
    (inside,) = survey(people.case()).attributes
    (overall,) = survey(people.case(), "nothing").attributes
    assert 0 < inside.entropy < overall.entropy <= log(3)


def test_missing_answers_count_nowhere(people):
    some = replace(people, z=torch.where(torch.arange(240) % 4 == 0, -1, people.z))
    (found,) = survey(some.case()).attributes
    assert found.prior.counts.sum() == 180
    assert not found.shown(torch.tensor([-1, 2]))[0].any()


def test_a_number_is_measured_in_deviations_from_the_mean_of_its_class(people):
    z = 100 + 5 * people.z.float()
    z[::7] = torch.nan
    found = survey(replace(people, z=z).case())
    (number,) = found.attributes
    assert isinstance(number, Number)
    seen = ~z.isnan()
    means = torch.stack([z[seen & (people.y == k)].mean() for k in range(2)])
    torch.testing.assert_close(number.means[:2], means)
    want = torch.stack([z[seen & (people.y == k)].std(correction=0) for k in range(2)])
    torch.testing.assert_close(number.deviations[:2], want)
    assert found.shown(found.read((people.x, people.y, z)))[0].tolist() == [0, 0]  # missing


def test_who_sees_the_class_alone_knows_nothing_of_a_number_however_classes_spread_it(people):
    z = torch.randn(240, generator=torch.Generator().manual_seed(3))
    z *= torch.tensor([0.1, 1.4])[people.y]
    (number,) = survey(replace(people, z=z).case()).attributes
    best = []
    for k in range(2):
        mine = people.y == k
        bets = [torch.tensor([0.0, step / 10]).expand(240, 2) for step in range(-50, 31)]
        best.append(min(number.surprise(bet[mine], z[mine], people.y[mine]) for bet in bets).item())
    assert best == pytest.approx([number.entropy] * 2, abs=1e-4)


def test_nobody_is_asked_for_a_number_that_the_class_tells(people):
    z = torch.where(people.y == 1, people.x[:, 0], 0.3)
    z[people.y.argmax()] = torch.nan
    (number,) = survey(replace(people, z=z).case()).attributes
    asked = number.asked(z, people.y)
    assert torch.equal(asked, (people.y == 1) & ~z.isnan())
    sure = torch.tensor([0.0, -5.0]).expand(240, 2)
    telling = number.surprise(sure, z, people.y)
    assert torch.equal(telling, number.surprise(sure[asked], z[asked], people.y[asked]))
    assert number.bound(sure, z, people.y).isfinite()


def test_several_attributes_are_told_side_by_side(people):
    task = Classification(attributes={"ink": lambda b: b[2], "size": lambda b: b[0][:, 0].double()})
    found = survey(people.case("ink", "size", "ink", task=task))
    assert [each.name for each in found.attributes] == ["ink", "size"]
    truth = found.read((people.x, people.y, people.z))
    assert found.shown(truth).shape == (240, 3 + 2)


def test_the_label_of_a_classification_is_its_class():
    alike = Alike.of(torch.tensor([2, 0, 2]), "classification")
    assert alike(torch.tensor([0, 1, 2, 7])).tolist() == [0, 1, 2, 3]
    assert len(alike) == 4


def test_the_commonest_rows_of_labels_are_classes_of_their_own():
    rows = torch.cartesian_prod(*[torch.arange(2)] * 6)[:40].repeat(3, 1)
    labels = torch.cat([rows[:60], rows[:40]]).float()
    alike = Alike.of(labels, "multilabel")
    found = alike(labels)
    assert len(alike) == 32
    assert len(found.unique()) == 32
    for k in range(31):
        assert len(labels[found == k].unique(dim=0)) == 1
    assert len(labels[found == 31].unique(dim=0)) == 40 - 31


def test_numbers_fall_into_bins_that_are_about_equally_full():
    labels = torch.randn(800, generator=torch.Generator().manual_seed(0)).exp()
    found = Alike.of(labels, "regression")(labels)
    assert found.bincount()[:8].tolist() == pytest.approx([100] * 8, abs=2)
    assert (labels[found == found[labels.argmax()]] >= labels.quantile(7 / 8) - 1e-6).all()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: {"z": torch.full_like(p.z, 2)}, "'ink'"),
        (lambda p: {"z": torch.full_like(p.z, -1)}, "'ink'"),
        (lambda p: {"z": p.y}, "removes the task"),
        (lambda p: {"z": 5 - p.y}, "removes the task"),
        (lambda p: {"z": p.y.float()}, "removes the task"),
    ],
    ids=["constant", "missing", "label", "label by another name", "label as a number"],
)
def test_what_cannot_be_removed_or_only_with_the_task_is_refused(people, change, word):
    for condition in ("task", "nothing"):
        with pytest.raises(RequestDoesNotFit, match=word):
            survey(replace(people, **change(people)).case(), condition)


def test_a_task_of_one_class_is_none_to_be_in_the_way(people):
    found = survey(replace(people, y=torch.zeros_like(people.y)).case())
    assert found.baseline == 1
    assert found.attributes[0].entropy == pytest.approx(
        survey(people.case(), "nothing").attributes[0].entropy
    )


def test_the_baseline_is_the_loss_of_who_sees_no_inputs(people):
    shares = people.y.double().mean()
    entropy = -(shares * shares.log() + (1 - shares) * (1 - shares).log()).item()
    assert survey(people.case()).baseline == pytest.approx(entropy)
    attributes = people.task.attributes
    rows = replace(people, y=torch.stack([people.y, people.y], 1).float())
    several = survey(rows.case(task=MultiLabel(attributes=attributes)))
    assert several.baseline == pytest.approx(entropy)
    numbers = replace(people, y=3 * people.x[:, 0])
    found = survey(numbers.case(task=Regression(attributes=attributes)))
    assert found.baseline == pytest.approx(numbers.y.var(correction=0).item(), rel=1e-5)
