"""Critics learn what features tell, and nothing else; features feel them, and cannot move them."""

from dataclasses import replace
from math import log

import pytest
import torch

from expunge.detaching.critics import Critics, Memory, Training, plain
from expunge.detaching.surveying import Truth, survey
from expunge.unlearning import seeded


def trained(people, steps=40, **how):
    found = survey(people.case())
    with seeded(0):
        critics = Critics(found.attributes[0], people.x, len(found.alike), Training(**how))
        for _ in range(steps):
            critics.learn(people.x, people.z, people.y, 64)
    return critics, found.attributes[0]


def test_critics_that_have_learned_nothing_know_what_the_class_tells(people):
    critics, hidden = trained(people, steps=0)
    told = critics.surprises(people.x, people.z, people.y)
    assert told.shape == (3,)
    assert told.tolist() == pytest.approx([hidden.entropy] * 3, abs=0.01)
    x = people.x.clone().requires_grad_()
    critics.bounds(x, people.z, people.y).sum().backward()
    assert not x.grad.any()


def test_critics_find_what_features_tell_and_no_more_than_that(people):
    critics, hidden = trained(people)
    told = critics.surprises(people.x, people.z, people.y)
    assert (told < 0.6 * hidden.entropy).all()
    assert (critics.bounds(people.x, people.z, people.y) > hidden.entropy - told).all()
    blank = torch.zeros_like(people.x)
    critics, _ = trained(replace(people, x=blank))
    assert (critics.surprises(blank, people.z, people.y) > 0.97 * hidden.entropy).all()


def test_a_feature_may_mean_one_thing_in_a_class_and_its_opposite_in_another(make_people):
    some = make_people(400)
    z = torch.randint(2, (400,), generator=torch.Generator().manual_seed(5))
    sign = torch.where(some.y == z, 1.0, -1.0)
    critics, hidden = trained(replace(some, x=torch.stack([sign, sign.abs()], 1), z=z))
    assert (critics.surprises(torch.stack([sign, sign.abs()], 1), z, some.y) < 0.1).all()
    assert hidden.entropy > 0.6


def test_frozen_critics_pass_slopes_on_and_take_none(people):
    critics, _ = trained(people, steps=3)
    before = [layer.clone() for layer in critics.layers]
    x = people.x.clone().requires_grad_()
    (
        critics.bounds(x, people.z, people.y) + critics.surprises(x, people.z, people.y)
    ).sum().backward()
    critics.follow()
    assert x.grad.any()
    assert all(layer.grad is None for layer in critics.layers)
    assert all(map(torch.equal, before, critics.layers))


def test_slopes_that_a_loss_of_others_left_are_followed_once(people):
    critics, hidden = trained(people, steps=0)
    for _ in range(30):
        critics.surprises(people.x, people.z, people.y, frozen=False).sum().backward()
        critics.follow()
    told = critics.surprises(people.x, people.z, people.y)
    assert (told < 0.8 * hidden.entropy).all()
    before = critics.layers[0].clone()
    critics.follow()
    assert torch.equal(before, critics.layers[0])


def test_critics_start_anew_one_after_another(people):
    critics, hidden = trained(people, steps=0, renew=20)
    fresh = []
    for _ in range(3):
        for _ in range(20):
            before = critics.surprises(people.x, people.z, people.y)
            critics.learn(people.x, people.z, people.y, 64)
        after = critics.surprises(people.x, people.z, people.y)
        assert (before < 0.9 * hidden.entropy).all()
        fresh.append((after > 0.97 * hidden.entropy).tolist())
    assert [sum(each) for each in fresh] == [1, 1, 1]
    assert len({each.index(True) for each in fresh}) == 3


def test_missing_answers_teach_nothing(people):
    hidden_half = torch.arange(240) % 2 == 0
    some = replace(people, z=torch.where(hidden_half, -1, people.z))
    lies = torch.where(hidden_half[:, None], 1e3 * torch.randn(240, 7), people.x)
    critics, _ = trained(some, steps=2)
    x = lies.clone().requires_grad_()
    critics.bounds(x, some.z, some.y).sum().backward()
    assert not x.grad[hidden_half].any()
    assert x.grad[~hidden_half].any()


def test_numbers_are_guessed_with_how_sure_a_critic_is(people):
    z = people.x @ torch.tensor([1.0, -2, 0, 0, 0, 0, 0]) + 50
    critics, hidden = trained(replace(people, z=z), steps=60)
    told = critics.surprises(people.x, z, people.y)
    assert (told < hidden.entropy - log(2)).all()


def test_to_shrink_or_shift_features_hides_nothing(people):
    small = 1e-4 * people.x + 3
    torch.testing.assert_close(plain(small, small), plain(people.x, people.x), atol=1e-2, rtol=0)


def test_a_feature_that_never_varies_is_left_alone(people):
    x = torch.cat([people.x, torch.full((240, 1), 1 / 3)], 1)
    assert plain(x, x)[:, -1].abs().max() < 1e-6


def test_the_memory_holds_the_last_batches_alone():
    memory = Memory()
    for k in range(11):
        memory.add(
            torch.full((2, 5), float(k)), Truth((torch.tensor([k, -1]),), torch.zeros(2).long())
        )
    x, truth = memory.all()
    assert x[:, 0].tolist() == [k for k in range(3, 11) for _ in range(2)]
    assert truth.z[0].tolist()[::2] == list(range(3, 11))
