"""The original's answers, without what they tell of the attribute."""

import pytest
import torch
from torch.nn import functional as F

from expunge import MultiLabel, Regression
from expunge.algebra.erasure import columns
from expunge.detaching.distilling import Original, levelled
from expunge.detaching.surveying import survey
from expunge.observing import evaluating


def means(answers, y, z):
    return torch.stack([answers[(y == c) & (z == k)].mean(0) for c in range(2) for k in range(3)])


def test_after_levelling_no_group_has_another_mean_than_its_class(people):
    answers = torch.randn(240, 5, generator=torch.Generator().manual_seed(2)) + people.z[:, None]
    level = levelled(answers, columns(people.z, 3), people.y)
    found = means(level, people.y, people.z).view(2, 3, 5)
    torch.testing.assert_close(found, found[:, :1].expand(2, 3, 5), atol=1e-5, rtol=0)
    for c in range(2):  # nothing is taken from a class as a whole
        torch.testing.assert_close(level[people.y == c].mean(0), answers[people.y == c].mean(0))


def test_answers_that_tell_nothing_stay_as_they_are(people):
    answers = F.one_hot(people.y, 2).float()
    torch.testing.assert_close(levelled(answers, columns(people.z, 3), people.y), answers)


def test_numbers_are_levelled_along_their_slope_and_missing_ones_not_at_all(people):
    z = torch.randn(240, 1, generator=torch.Generator().manual_seed(4)).double()
    z[::5] = torch.nan
    answers = 3 * z.nan_to_num().float() + torch.zeros(240, 2)
    level = levelled(answers, z, people.y)
    torch.testing.assert_close(level[::5], answers[::5])
    for c in range(2):
        inside = (people.y == c) & ~z[:, 0].isnan()
        torch.testing.assert_close(
            level[inside], level[inside].mean(0).expand(int(inside.sum()), 2)
        )


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_answers_are_remembered_by_position_and_apart_by_the_task(people, network, kind):
    attributes = people.task.attributes
    task = {
        "classification": people.task,
        "multilabel": MultiLabel(labels=lambda b: F.one_hot(b[1], 2), attributes=attributes),
        "regression": Regression(labels=lambda b: F.one_hot(b[1], 2), attributes=attributes),
    }[kind]
    case = people.case(task=task)
    original = Original.of(network, case, survey(case))
    ids = torch.tensor([17, 4, 200])
    want = original.answers[ids].requires_grad_()
    apart = original.apart(want, ids)
    (slope,) = torch.autograd.grad(apart, want)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-6, rtol=0)
    assert original.apart(want.flip(0), ids) > apart
    with torch.no_grad(), evaluating(network):
        raw = network(people.x)
    assert original.answers.shape == raw.shape
    assert not torch.equal(original.answers, raw)
