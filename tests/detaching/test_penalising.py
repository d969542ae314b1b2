"""A penalty for Fit: features never learn to tell the attribute, at hardly any cost to the task."""

import gc
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from expunge import Classification
from expunge.detaching import Aim, Training, Weights, penalty
from expunge.errors import BadSetting, UnknownName
from expunge.fitting import Fit
from expunge.unlearning import seeded

EPOCHS, BATCH, LR = 12, 50, 4e-3


def fresh():
    return nn.Sequential(
        nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 11), nn.ReLU(), nn.Linear(11, 2)
    )


def fitted(people, **how):
    with seeded(0):
        fit = Fit(EPOCHS, LR, BATCH, optimizer="adamw", schedule="onecycle", **how)
        return fit(fresh(), people.data)


def removed(people, strength, estimator="vclub", task=None):
    aim = Aim(Weights(0.05, 1.0, strength), estimator, Training(copies=1))
    found = penalty(people.data, task or people.task, ["ink"], aim=aim, rise=30)
    return fitted(people, task=found.task, penalty=found)


@pytest.fixture(scope="module")
def many(make_people):
    return make_people(500, noise=1.0), make_people(600, seed=1, noise=1.0)


@pytest.fixture(scope="module")
def ask(many, gained):
    """Accuracy, and bits that fresh probes find beyond the label in samples that were held out."""
    x, y, z = many[1].data.tensors

    def asked(model):
        right = model(x).argmax(1) == y
        return right.double().mean().item(), gained(model[:4](x), z, y)

    return asked


@pytest.fixture(scope="module")
def plain(many, ask):
    return ask(fitted(many[0]))


def naive(people, weight=1.0):
    """One loss for all, with a negative weight: classifier and features together err on purpose."""
    with seeded(0):
        model, critic = fresh(), nn.Linear(11, 3)
        optimizer = torch.optim.Adam([*model.parameters(), *critic.parameters()], lr=LR)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(people.y)).split(BATCH):
                h = model[:4](people.x[rows])
                loss = F.cross_entropy(model[4](h), people.y[rows])
                loss = loss - weight * F.cross_entropy(critic(h), people.z[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()


def test_the_naive_loss_removes_nothing(many, ask, plain):
    assert ask(naive(many[0]))[1] > 0.8 * plain[1]


@pytest.mark.parametrize(
    ("strength", "price"),
    [
        pytest.param(1.0, 0.02, marks=pytest.mark.slow),
        (5.0, 0.03),
        pytest.param(20.0, 0.15, marks=pytest.mark.slow),
    ],
)
def test_at_any_strength_little_is_left_beyond_the_label_and_the_task_stays(
    many, ask, plain, strength, price
):
    accuracy, leak = ask(removed(many[0], strength))
    assert plain[1] > 0.3
    assert leak < 0.25 * plain[1]
    assert accuracy > plain[0] - price


@pytest.mark.parametrize(
    ("estimator", "strength"),
    [pytest.param("minmax", 2.0, marks=pytest.mark.slow), ("reversal", 1.0)],
)
def test_other_estimators_remove_too(many, ask, plain, estimator, strength):
    accuracy, leak = ask(removed(many[0], strength, estimator))
    assert leak < 0.4 * plain[1]
    assert accuracy > plain[0] - 0.1


def test_the_naive_loss_cannot_be_configured():
    aim = Aim()
    object.__setattr__(aim, "estimator", "naive")  # past the types, as no checker guards users
    with pytest.raises(UnknownName, match="no estimator is named 'naive'"):
        aim.__post_init__()


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"steps": 0}, {"lr": 0.0}, {"renew": -1}])
def test_critics_that_would_learn_nothing_are_refused(wrong):
    with pytest.raises(BadSetting, match="critic"):
        Training(**wrong)


class Counting(Classification):
    passes = 0

    def answer(self, model, batch):
        type(self).passes += 1
        return super().answer(model, batch)


def test_a_step_costs_one_pass_of_the_model(people):
    task = Counting(attributes=people.task.attributes)
    found = penalty(people.data, task, ["ink"])
    calls = []
    model = fresh()
    model[0].register_forward_hook(lambda *_: calls.append(1))
    Fit(2, 0.01, 60, task=found.task, penalty=found)(model, people.data)
    assert len(calls) == 2 * 4
    Fit(2, 0.01, 60, task=task, penalty=found)(model, people.data)
    assert len(calls) == 2 * 4 + 2 * 2 * 4  # with the bare task, a second pass a step


def test_one_penalty_trains_any_number_of_models_alike(people):
    found = penalty(people.data, people.task, ["ink"], rise=3)

    def trained():
        with seeded(0):
            return Fit(1, 0.01, 60, task=found.task, penalty=found)(fresh(), people.data)

    first, again = trained(), trained()
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert len(found.courses) == 2
    del first, again
    gc.collect()
    assert len(found.courses) == 0


def test_it_describes_itself_in_json(people):
    weak, strong = (
        penalty(people.data, people.task, ["ink"], aim=Aim(Weights(strength=s))).describe()
        for s in (1.0, 2.0)
    )
    assert json.dumps(weak) != json.dumps(strong)
    fit = Fit(1, task=penalty(people.data, people.task, ["ink"]).task)
    assert json.loads(json.dumps(fit.describe()))["task"]["kind"] == "classification"
