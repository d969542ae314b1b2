"""Tasks, batches and layers of many kinds are served, also between cuts."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, MultiLabel, Regression, Request, split
from expunge.methods.detach import Detach
from expunge.unlearning import seeded, unlearn

D = 9  # inputs of the toy


def test_modules_between_cuts_learn_though_no_gradient_passes(toy):
    model = toy.network()
    found = toy.outcome(model=model, cuts=2, distil=0.0, erase=False)
    for (name, old), new in zip(model.named_parameters(), found.after.parameters(), strict=True):
        assert not torch.equal(old, new), name
    assert any("no gradient passed after" in note for note in found.notes)


def test_several_attributes_go_at_once_groups_and_numbers_and_missing_ones_too(toy):
    people = toy.drawn()
    height = people.x[:, 7].clone()
    height[::6] = torch.nan
    groups = torch.where(torch.arange(200) % 5 == 0, -1, people.z)
    data = TensorDataset(people.x, people.y, groups, height)
    task = toy.read(ink=lambda batch: batch[2], height=lambda batch: batch[3])
    parts = split(data, *(Request(Attribute(n)) for n in ("ink", "height")), test=data)
    found = unlearn(toy.network(), parts, Detach(**toy.brief), task=task)
    told = [note for note in found.notes if "bits of" in note]
    assert ["'ink'" in told[0], "'height'" in told[1]] == [True, True]
    assert "'height' is a number" in "\n".join(found.notes)


@pytest.mark.parametrize("kind", ["several classes", "multilabel", "regression"])
def test_other_tasks_are_served(toy, kind):
    people = toy.drawn()
    columns = torch.stack([people.y, people.x[:, 6] > 0], 1)
    y, task, outputs = {
        "several classes": (columns.long() @ torch.tensor([1, 2]), toy.read(), 4),
        "multilabel": (columns.float(), toy.read(MultiLabel), 2),
        "regression": (people.x[:, 5:6] + people.x[:, :1], toy.read(Regression), 1),
    }[kind]
    some = toy.people(people.x, y, people.z)
    model, few = toy.network(outputs), {"critics": 1, "critic_steps": 1}
    found = toy.outcome(some, model=model, task=task, cuts=("1",), epochs=4, lr=0.05, **few)
    batch = (some.x, some.y, some.z)
    with torch.no_grad():
        before, after = (task.loss(m.eval(), batch).mean() for m in (model, found.after))
    assert after < before


def test_batches_may_be_dictionaries(toy):
    class Named(torch.utils.data.Dataset):
        people = toy.drawn(80)

        def __len__(self):
            return 80

        def __getitem__(self, k):
            return {"x": self.people.x[k], "y": self.people.y[k], "ink": self.people.z[k]}

    task = Classification(
        inputs=lambda batch: batch["x"],
        labels=lambda batch: batch["y"],
        attributes={"ink": lambda batch: batch["ink"]},
    )
    parts = split(Named(), Request(Attribute("ink")), test=Named())
    found = unlearn(toy.network(), parts, Detach(**toy.brief), task=task)
    assert not torch.equal(toy.weights(found.before), toy.weights(found.after))


@pytest.mark.parametrize("count", [121, 122, 41])
def test_normalised_layers_bear_any_last_batch(toy, count):
    found = toy.outcome(
        toy.drawn(count), model=toy.network(middle=[nn.BatchNorm1d(13)]), cuts=("2",)
    )
    assert toy.weights(found.after).isfinite().all()
    assert not any(module.training for module in found.after.modules())


def test_tied_weights_stay_tied(toy):
    with seeded(0):
        first, second = nn.Linear(D, D), nn.Linear(D, D)
        second.weight = first.weight
        model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(D, 2))
    after = toy.outcome(model=model, erase=False).after
    assert after[0].weight is after[2].weight
    assert not torch.equal(after[0].weight, first.weight)


def test_frozen_layers_stay_as_they_are(toy):
    model = toy.network()
    model[0].requires_grad_(requires_grad=False)
    after = toy.outcome(model=model, cuts=("1",)).after
    assert torch.equal(after[0].weight, model[0].weight)
    assert not after[0].weight.requires_grad


def test_a_task_of_one_class_is_served(toy):
    people = toy.drawn()
    found = toy.outcome(toy.people(people.x, people.y * 0, people.z))
    assert toy.weights(found.after).isfinite().all()
