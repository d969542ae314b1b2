"""Reversal: a critic climbs down, features climb up, and nothing else is promised."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, MultiLabel, Request, split
from expunge.errors import BadSetting, RequestDoesNotFit
from expunge.methods.reversal import Reversal
from expunge.unlearning import seeded, unlearn

D, N = 9, 122
TASK = Classification(attributes={"ink": lambda batch: batch[2]})


def drawn():
    generator = torch.Generator().manual_seed(0)
    z = torch.randint(3, (N,), generator=generator)
    y = ((z + torch.randint(4, (N,), generator=generator)) > 2).long()
    x = 0.5 * torch.randn(N, D, generator=generator)
    x[:, :3] += 2 * F.one_hot(z, 3)
    x[:, 5] += 3 * y
    return x, y, z


def network():
    with seeded(3):
        return nn.Sequential(nn.Linear(D, 11), nn.BatchNorm1d(11), nn.ReLU(), nn.Linear(11, 2))


def outcome(z=None, y=None, task=TASK, **settings):
    x, labels, groups = drawn()
    data = TensorDataset(x, labels if y is None else y, groups if z is None else z)
    parts = split(data, Request(Attribute("ink")), test=data)
    how = Reversal(**({"epochs": 3, "batch": 40} | settings))
    return unlearn(network(), parts, how, task=task)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def known(found):
    trace = [bits for _, bits in found.traces["bits of ink that the critic knows"][-20:]]
    return sum(trace) / len(trace)


def test_the_critic_knows_less_when_its_gradient_is_turned_round():
    plain, turned = (outcome(strength=s, epochs=30, critic_lr=1e-2) for s in (0.0, 2.0))
    assert known(plain) > 0.5
    assert known(turned) < 0.5 * known(plain)
    assert "the critic knew" in turned.notes[-1]


def test_the_same_seed_gives_the_same_bits_and_names_and_shapes_stay():
    one, other = outcome(), outcome()
    assert torch.equal(weights(one.after), weights(other.after))
    assert one.before.state_dict().keys() == one.after.state_dict().keys()


@pytest.mark.parametrize("condition", ["task", "nothing"])
def test_numbers_and_missing_answers_are_served(condition):
    x, _, groups = drawn()
    height = x[:, 7].clone()
    height[::6] = torch.nan
    for z in (height, torch.where(torch.arange(N) % 5 == 0, -1, groups)):
        assert weights(outcome(z, condition_on=condition).after).isfinite().all()


def test_batches_in_which_nobody_answers_are_not_taken_for_knowledge():
    _, _, groups = drawn()
    few = torch.where(torch.arange(N) % 30 == 0, groups, -1)
    found = outcome(few, batch=10, epochs=6)
    heard = found.traces["bits of ink that the critic knows"]
    assert len(heard) < len(found.traces["loss"])
    assert max(bits for _, bits in heard) < 1
    assert "in the last epoch" in found.notes[-1]


def test_tasks_of_several_answers_are_served():
    x, y, _ = drawn()
    rows = torch.stack([y, x[:, 6] > 0], 1).float()
    found = outcome(y=rows, task=MultiLabel(attributes=TASK.attributes))
    assert weights(found.after).isfinite().all()


def test_what_cannot_be_removed_is_refused():
    _, y, z = drawn()
    for wrong in (y, z * 0, z * 0 - 1):
        with pytest.raises(RequestDoesNotFit):
            outcome(wrong)


@pytest.mark.parametrize("wrong", [{"critic_lr": 0.0}, {"epochs": 0}, {"batch": 0}], ids=str)
def test_settings_with_which_nothing_would_happen_are_refused(wrong):
    with pytest.raises(BadSetting):
        outcome(**wrong)
