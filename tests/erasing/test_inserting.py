"""Where an erasure goes: before the head or after a named layer, whatever the model is like."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from expunge import Classification
from expunge.erasing.inserting import ErasedInput, ErasedOutput

D, H, C = 6, 12, 2  # inputs, features and classes of the toy


class Named(Dataset):
    """Samples that are mappings."""

    def __init__(self, x, y, z):
        self.columns = x, y, z

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        x, y, z = self.columns
        return {"left": x[index, :4], "right": x[index, 4:], "label": y[index], "hat": z[index]}


class Joining(nn.Module):
    """Reads two inputs by name."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 7), nn.Linear(2, 5), nn.Linear(H, C)

    def forward(self, left, right):
        joined = torch.cat([self.left(left), self.right(right)], 1)
        return {"logits": self.head(joined.tanh())}


class Convolving(nn.Module):
    """Reads rows of six as pictures of two by three."""

    def __init__(self, pool=2):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(pool)
        )
        self.head = nn.Linear(4 * pool**2, C)

    def forward(self, x):
        return self.head(self.body(x.view(-1, 1, 2, 3)).flatten(1))


def test_by_itself_it_stands_before_the_last_linear_layer_and_is_read_there(toy):
    model = toy.built(toy.network)
    after = toy.erased(model).after
    assert isinstance(after[2], ErasedInput)
    assert [*dict(after.named_parameters())] == [
        "0.weight", "0.bias", "2.layer.weight", "2.layer.bias",
    ]  # fmt: skip
    assert [*dict(after.named_buffers())] == ["2.before.matrix", "2.before.bias"]
    before, found = (toy.features(m, toy.reading()) for m in (model, after))
    torch.testing.assert_close(found, after[2].before.map(before))
    assert toy.told_inside(before, *toy.drawn()[1:]) > 0.3
    assert toy.told_inside(found, *toy.drawn()[1:]) < 1e-6


@pytest.mark.parametrize("layer", ["0", "1"])
def test_a_named_layer_is_erased_right_after_it(toy, layer):
    task = toy.reading(layer=layer)
    after = toy.erased(toy.built(toy.network), task).after
    assert isinstance(after.get_submodule(layer), ErasedOutput)
    assert toy.told_inside(toy.features(after, task), *toy.drawn()[1:]) < 1e-6


def test_the_head_of_a_convolutional_network_reads_erased_features(toy):
    after = toy.erased(toy.built(Convolving)).after
    assert isinstance(after.head, ErasedInput)
    assert toy.told_inside(toy.features(after, toy.reading()), *toy.drawn()[1:]) < 1e-6


def test_feature_maps_are_erased_as_a_whole(toy):
    model, task = toy.built(Convolving), toy.reading(layer="body.3")
    outcome = toy.erased(model, task)
    assert outcome.after.body[3](torch.zeros(5, 4, 3, 4)).shape == (5, 4, 2, 2)
    assert toy.told_inside(toy.features(outcome.after, task), *toy.drawn()[1:]) < 1e-6
    assert outcome.after.body[3].after.matrix.shape == (16, 16)
    assert "with the head fitted again" in outcome.notes[-1]  # the head reads these very features


def test_batches_may_be_mappings(toy):
    task = Classification(
        inputs=lambda batch: {name: batch[name] for name in ("left", "right")},
        labels=lambda batch: batch["label"],
        attributes={"hat": lambda batch: batch["hat"]},
    )
    outcome = toy.erased(toy.built(Joining), task, Named(*toy.drawn()))
    x, y, z = toy.drawn()
    batch = {"left": x[:, :4], "right": x[:, 4:], "label": y, "hat": z}
    assert toy.told_inside(toy.features(outcome.before, task, batch), y, z) > 0.3
    assert toy.told_inside(toy.features(outcome.after, task, batch), y, z) < 1e-6


def test_a_model_that_is_its_own_head_comes_back_with_an_erasure_before_it(toy):
    after = toy.erased(toy.built(toy.lone)).after
    assert isinstance(after, ErasedInput)
    assert toy.told_inside(toy.features(after, toy.reading()), *toy.drawn()[1:]) < 1e-6


def test_a_layer_with_two_names_is_erased_under_both(toy):
    after = toy.erased(toy.built(toy.twice)).after
    assert after.head is after.also
    assert isinstance(after.head, ErasedInput)


def test_heads_that_share_their_weight_are_fitted_apart(toy):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(H, D, bias=False), nn.Linear(D, H, bias=False)
            self.head.weight = nn.Parameter(self.body.weight.T.contiguous())
            self.first = nn.Linear(D, H, bias=False)
            self.first.weight = self.head.weight

        def forward(self, x):
            return self.head(self.body(self.first(x).relu()).tanh())

    model = toy.built(Tied)
    after = toy.erased(model).after
    assert torch.equal(after.first.weight, model.first.weight)
    assert not torch.equal(after.head.layer.weight, model.first.weight)
