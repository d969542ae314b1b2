"""Shuffled columns: what the model no longer uses, and what it still knows."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from expunge import Attribute, Classification, Fit, Request, split
from expunge.batching import Batches
from expunge.errors import BadSetting, BatchUnreadable, UnknownName
from expunge.method import Case
from expunge.methods.shuffle_attribute import ShuffleAttribute, _shuffled
from expunge.unlearning import seeded, unlearn

N, D, H, C = 340, 6, 9, 2
SEX, PROXY, TALENT = 0, 3, 5
TASK = Classification(attributes={"sex": lambda batch: batch[2]})


def drawn():
    """Talent and sex decide; one column is the sex, and another is nearly so."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator)
    z = torch.randint(2, (N,), generator=generator)
    x[:, SEX] = 2.0 * z - 1
    x[:, PROXY] = 2.0 * z - 1 + 0.5 * x[:, PROXY]
    y = (x[:, TALENT] + 1.5 * x[:, SEX] > 0).long()
    return x, y, z


@pytest.fixture(scope="module")
def trained():
    data = TensorDataset(*drawn())
    with seeded(0):
        model = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, C))
        Fit(epochs=12, lr=0.1, batch=50)(model, data)
    return model.eval(), split(data, Request(Attribute("sex")), test=data)


def used(model, *columns):
    """The share of answers that change when columns are shuffled."""
    x = drawn()[0]
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    other = x.clone()
    other[:, columns] = x[order][:, columns]
    with torch.no_grad():
        return (model(x).argmax(1) != model(other).argmax(1)).double().mean().item()


def test_answers_no_longer_hang_on_the_column(trained):
    model, parts = trained
    outcome = unlearn(model, parts, ShuffleAttribute(columns=(SEX,), epochs=20), task=TASK)
    assert used(model, SEX) > 0.1
    assert used(outcome.after, SEX) < 0.04
    assert used(outcome.after, TALENT) > 0.1
    assert "trained with 0 shuffled; not promised" in outcome.notes[-1]


def test_another_column_that_tells_it_takes_over(trained):
    model, parts = trained
    after = unlearn(model, parts, ShuffleAttribute(columns=(SEX,), epochs=20), task=TASK).after
    assert used(after, PROXY) > used(model, PROXY) + 0.05
    both = ShuffleAttribute(columns=(SEX, PROXY), epochs=20)
    neither = unlearn(model, parts, both, task=TASK).after
    assert used(neither, SEX, PROXY) < 0.5 * used(after, SEX, PROXY)


def test_columns_move_together_and_everything_else_stays():
    x = drawn()[0]
    with seeded(0):
        found = _shuffled(x, (SEX, PROXY))
    others = [k for k in range(D) if k not in (SEX, PROXY)]
    assert torch.equal(found[:, others], x[:, others])
    assert not torch.equal(found[:, SEX], x[:, SEX])
    pairs = {tuple(row) for row in x[:, (SEX, PROXY)].tolist()}
    assert {tuple(row) for row in found[:, (SEX, PROXY)].tolist()} == pairs


def test_named_inputs_move_together_too():
    x, _, z = drawn()
    inputs = {"sex": z, "age": x[:, 3], "rest": x}
    with seeded(0):
        found = _shuffled(inputs, ("sex", "age"))
    assert found["rest"] is x
    assert sorted(zip(*(found[k].tolist() for k in ("sex", "age")), strict=True)) == sorted(
        zip(z.tolist(), x[:, 3].tolist(), strict=True)
    )
    assert not torch.equal(found["age"], x[:, 3])


class Named(Dataset):
    """Samples that are mappings."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        x, y, z = drawn()
        return {"sex": x[index, :1], "rest": x[index, 1:], "label": y[index], "hat": z[index]}


class Joining(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, C))

    def forward(self, sex, rest):
        return self.body(torch.cat([sex, rest], 1))


def test_mappings_are_trained_on():
    task = Classification(
        inputs=lambda batch: {name: batch[name] for name in ("sex", "rest")},
        labels=lambda batch: batch["label"],
        attributes={"sex": lambda batch: batch["hat"]},
    )
    parts = split(Named(), Request(Attribute("sex")), test=Named())
    with seeded(0):
        model = Joining()
    outcome = unlearn(model, parts, ShuffleAttribute(columns=("sex",), epochs=2), task=task)
    assert len(outcome.traces["loss"]) == 2 * 3


@pytest.mark.parametrize(
    ("inputs", "columns", "error"),
    [
        (torch.zeros(4, 3), (3,), BadSetting),
        (torch.zeros(4, 3), (-1,), BadSetting),
        (torch.zeros(4, 3), (0, "sex"), BadSetting),
        (torch.zeros(4), (0,), BadSetting),
        ({"age": torch.zeros(4)}, ("sex",), UnknownName),
        ([torch.zeros(4, 3)], (0,), BatchUnreadable),
    ],
)
def test_columns_that_are_not_there_are_refused(inputs, columns, error):
    with pytest.raises(error) as why:
        _shuffled(inputs, columns)
    assert why.value.hint


def test_no_column_is_no_request(trained):
    model, parts = trained
    with pytest.raises(BadSetting, match="columns is empty"):
        unlearn(model, parts, ShuffleAttribute(columns=()), task=TASK)


def test_the_promises_of_every_method_are_kept(trained, tmp_path):
    model, parts = trained
    case = Case(parts.targets, Batches(parts.forget), Batches(parts.retain), None, TASK)
    method = ShuffleAttribute.example(tmp_path, model, case)
    kept, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    first, again = (unlearn(model, parts, method, task=TASK).after for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, kept[name]) for name, v in model.state_dict().items())
    assert first.state_dict().keys() == kept.keys()
    assert all(torch.equal(v, again.state_dict()[name]) for name, v in first.state_dict().items())
    assert not all(torch.equal(v, kept[name]) for name, v in first.state_dict().items())
    assert not any(module.training for module in first.modules())
    json.dumps(method.describe(), allow_nan=False)
