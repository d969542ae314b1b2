"""What is charged to features at one depth, and whom the slopes reach."""

import pytest
import torch
from torch import nn

from expunge.detaching import Aim, Training, Weights
from expunge.detaching.critics import plain
from expunge.detaching.decoders import missed, wanted
from expunge.detaching.holding import Depth, rows
from expunge.detaching.remembering import losses
from expunge.detaching.surveying import survey
from expunge.unlearning import seeded

ESTIMATORS = ["vclub", "minmax", "reversal"]


def charged(people, *, share=1.0, rounds=4, aim=None, features=None, **how):
    """Slopes of the charge on features, after some rounds; and the depth."""
    x = people.x if features is None else features
    batch = (people.x, people.y, people.z)
    with seeded(0):
        depth = Depth(survey(people.case()), aim or Aim(**how))
        for _ in range(rounds):
            h = x.clone().requires_grad_()
            loss = depth.loss(h, batch, share)
            loss.backward()
    return h.grad, depth, loss


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_where_gamma_is_beta_the_features_are_left_alone(people, estimator):
    def slope(weights, share):
        return charged(people, share=share, weights=weights, estimator=estimator)[0]

    start = slope(Weights(0.5, 0.5, 3.0), share=0.0)
    assert start.any()  # the inputs are kept
    torch.testing.assert_close(start, slope(Weights(0.5, 0.5, 0.0), share=1.0))
    assert not slope(Weights(0.0, 0.5, 3.0), share=0.0).any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_step_against_the_charge_makes_the_attribute_harder_to_tell(people, estimator):
    aim = Aim(Weights(0.0, 1.0, 1.0), estimator, Training(copies=1))
    slope, depth, _ = charged(people, aim=aim, rounds=40)
    critics, z, y = depth._critics[0], people.z, people.y
    before, after = (
        critics.surprises(plain(x, people.x), z, y).mean()
        for x in (people.x, people.x - 20 * slope)
    )
    assert after > before + 0.01


@pytest.mark.parametrize("estimator", ["vclub", "minmax"])
def test_the_step_of_the_model_moves_no_critic(people, estimator):
    h = people.x.clone().requires_grad_()
    depth = Depth(survey(people.case()), Aim(estimator=estimator))
    loss = depth.loss(h, (people.x, people.y, people.z), 1.0)
    before = [layer.clone() for layer in depth._critics[0].layers]
    loss.backward()
    assert all(layer.grad is None for layer in depth._critics[0].layers)
    depth._follow()
    assert all(map(torch.equal, before, depth._critics[0].layers))


def test_critics_learn_from_features_without_their_history(people):
    layer = nn.Linear(7, 5)
    depth = Depth(survey(people.case()), Aim())
    depth.loss(layer(people.x), (people.x, people.y, people.z), 1.0)
    assert layer.weight.grad is None


@pytest.mark.parametrize("estimator", ["vclub", "minmax"])
def test_a_critic_that_is_worse_than_none_is_not_deceived_any_further(people, estimator):
    _, depth, _ = charged(people, rounds=30)
    wrong = -people.x  # as if the features had turned round since critics learned
    h = wrong.clone().requires_grad_()
    depth._aim = Aim(Weights(0.0, 1.0, 1.0), estimator)
    depth._decoder = None
    depth.loss(h, (people.x, people.y, people.z), 1.0).backward()
    assert depth.known["ink"] < 0
    assert not h.grad.any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_batch_in_which_nobody_answers_charges_nothing_and_tells_nothing(people, estimator):
    depth = Depth(survey(people.case()), Aim(Weights(0.0, 1.0, 1.0), estimator))
    h = people.x.clone().requires_grad_()
    loss = depth.loss(h, (people.x, people.y, torch.full_like(people.z, -1)), 1.0)
    assert loss.item() == 0
    assert depth.known == {}
    assert depth.knew(1) == {"ink": 0.0}


def test_what_critics_knew_is_a_mean_over_answers_and_not_over_batches(people):
    depth = Depth(survey(people.case()), Aim())
    told, answers = [], []
    with seeded(0):
        for share in (0.9, 0.02, 0.5):
            z = torch.where(torch.rand(len(people.z)) < share, people.z, -1)
            depth.loss(people.x, (people.x, people.y, z), 1.0)
            told.append(depth.known["ink"])
            answers.append((z >= 0).sum().item())
    late = sum(a * b for a, b in zip(told[1:], answers[1:], strict=True)) / sum(answers[1:])
    assert depth.knew(2)["ink"] == pytest.approx(max(0.0, late))
    assert late > 0.01
    assert abs(late - sum(told[1:]) / 2) > 0.01


def test_what_is_remembered_outlives_layers_that_work_in_place(people):
    depth, x = Depth(survey(people.case()), Aim()), people.x.clone()
    depth.loss(x, (people.x, people.y, people.z), 1.0)
    x.relu_()
    assert torch.equal(depth._memory.all()[0], people.x)


def test_the_charge_is_in_units_of_what_there_is_to_know(people):
    one, _, small = charged(people, weights=Weights(0.0, 1.0, 1.0), rounds=3)
    two, _, large = charged(people, weights=Weights(0.0, 1.0, 2.0), rounds=3)
    half, _, same = charged(people, weights=Weights(0.0, 2.0, 2.0), rounds=3)
    torch.testing.assert_close(2 * small, large)
    torch.testing.assert_close(2 * one, two)
    torch.testing.assert_close(half, one)
    torch.testing.assert_close(same, small)


def test_a_decoder_learns_to_find_the_inputs_in_the_features(people):
    weights = Weights(1.0, 1.0, 0.0)
    _, _, late = charged(people, weights=weights, rounds=50)
    _, _, early = charged(people, weights=weights, rounds=1)
    assert late < 0.8 * early


def test_what_decodes_nothing_misses_all_of_the_variance(people):
    class Blind(nn.Module):
        def forward(self, x, _told):
            return torch.zeros(len(x), 7)

    target = wanted(5 + 3 * people.x)
    assert missed(Blind(), people.x, people.x[:, :2], target).item() == pytest.approx(1, rel=1e-5)


def test_pictures_are_asked_for_small_and_words_not_at_all():
    pictures = torch.rand(4, 3, 40, 20)
    assert wanted(pictures).shape == (4, 3, 16, 16)
    assert wanted({"ids": torch.zeros(4, 6, dtype=torch.long)}) is None
    assert wanted({"a": torch.rand(4, 6), "b": (torch.rand(4, 2),)}).shape == (4, 8)
    assert wanted(torch.rand(4, 3000)).shape == (4, 1024)
    assert wanted(torch.rand(1, 3)) is None  # one sample has no variance


def test_maps_are_seen_by_quarters_and_sequences_by_their_mean():
    assert rows(torch.rand(4, 3, 6, 5)).shape == (4, 12)
    assert rows(torch.rand(4, 3, 6)).shape == (4, 6)
    assert rows(torch.rand(4, 6)).shape == (4, 6)


def test_losses_from_answers_are_those_of_a_pass(people, network):
    batch = (people.x, people.y, people.z)
    found = losses(people.task, network(people.x), batch)
    assert torch.equal(found, people.task.loss(network, batch))
