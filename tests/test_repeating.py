"""The same unlearning, done again to other originals: trained once, unlearned once, kept."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import (
    Classes,
    Classification,
    Fit,
    Outcome,
    Recipe,
    Request,
    Samples,
    split,
    unlearn,
)
from expunge.batching import data_digest
from expunge.errors import BadSetting, MissingInput
from expunge.method import Method
from expunge.methods.finetune import Finetune
from expunge.observing import snapshot
from expunge.repeating import repeat
from expunge.shelving import purge

TASK = Classification()
GONE = (2, 3, 5)


def build():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


class Counting:
    """Notes what it trains on."""

    def __init__(self):
        self.seen = []

    def __call__(self, model, dataset):
        self.seen.append(dataset.indices.tolist())
        return Fit(epochs=2, batch=7)(model, dataset)

    def describe(self):
        return {}


@dataclass(frozen=True)
class Appending(Method):
    """Puts a layer at the end of a model."""

    reshapes: ClassVar = True

    def forget(self, model, case):
        del case
        model.append(nn.Linear(3, 3))
        return model


@dataclass(frozen=True)
class Retold(Method):
    """Changes nothing, whatever it is told."""

    def forget(self, model, case):
        del case
        return model


def data(n=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 4, generator=generator), torch.arange(n) % 3)


def outcome(method=None, gone=GONE):
    parts = split(data(), Request(Samples(gone)), test=data(11, 1))
    return unlearn(build(), parts, method or Finetune(epochs=1), task=TASK)


def repeated(recipe, **given):
    found = given.pop("found", None) or outcome()
    return repeat(found, recipe, **{"seeds": 2, **given})


def weights(model):
    return torch.cat([p.flatten() for p in model.parameters()])


def same(one, other):
    return [m.digest for m in one.members] == [m.digest for m in other.members] and all(
        torch.equal(weights(a.load()), weights(b.load()))
        for a, b in zip(one.members, other.members, strict=True)
    )


def test_originals_see_everybody_and_differ_by_their_seeds():
    recipe = Recipe(build, Counting())
    found = repeated(recipe, seeds=(4, 1))
    assert recipe.fit.seen == [list(range(30))] * 2
    assert [m.seed for m in found.members] == [4, 1]
    assert len({m.digest for m in found.members}) == 2
    assert found.members[0].snapshot.forget.ids.tolist() == list(GONE)


def test_every_one_is_unlearned_as_the_outcome_was():
    made = []

    def fit(model, dataset):
        made.append(Fit(epochs=2, batch=7)(model, dataset))
        return made[-1]

    done = outcome()
    found = repeated(Recipe(build, fit), found=done, seeds=(3,)).members[0]
    by_hand = unlearn(made[0], done.split, done.method, task=TASK, seed=3)
    assert torch.equal(weights(found.load()), weights(by_hand.after))
    seen = snapshot(by_hand.after, done.split, TASK)
    assert torch.equal(found.snapshot.forget.logits, seen.forget.logits)


def test_a_second_call_trains_nothing_and_finds_the_same(tmp_path):
    recipe = Recipe(build, Counting())
    first, fresh = repeated(recipe, cache=tmp_path), repeated(recipe)
    assert len(recipe.fit.seen) == 4
    again = repeated(recipe, cache=tmp_path)
    assert len(recipe.fit.seen) == 4
    assert same(first, again)
    assert same(first, fresh)
    assert [m.seconds for m in first.members] == [m.seconds for m in again.members]


def test_originals_serve_every_method_and_every_forget_set(tmp_path):
    recipe = Recipe(build, Counting())
    first = repeated(recipe, cache=tmp_path)
    other = repeated(recipe, cache=tmp_path, found=outcome(Finetune(epochs=2)))
    repeated(recipe, cache=tmp_path, found=outcome(gone=(7, 8)))
    assert len(recipe.fit.seen) == 2
    assert not same(first, other)


def test_what_a_method_is_told_to_forget_and_may_look_at_makes_another_repeat(tmp_path):
    recipe, gone = Recipe(build, Counting()), Samples(tuple(range(2, 30, 3)))
    given = {"test": data(11, 1)}
    for parts in (
        split(data(), Request(gone), **given),
        split(data(), Request(Classes((2,))), **given),  # the same samples
        split(data(), Request(gone), validation=data(7, 2), **given),
        split(data(), Request(gone), validation=data(7, 3), **given),
    ):
        repeated(recipe, found=unlearn(build(), parts, Retold(), task=TASK), cache=tmp_path)
    assert len([*tmp_path.glob("*/repeat-0.safetensors")]) == 4
    assert len(recipe.fit.seen) == 2


def test_a_torn_file_is_made_again(tmp_path):
    recipe = Recipe(build, Counting())
    first = repeated(recipe, cache=tmp_path)
    (path,) = tmp_path.glob("*/repeat-0.safetensors")
    path.write_bytes(b"torn")
    assert same(first, repeated(recipe, cache=tmp_path))
    (path,) = tmp_path.glob("*/original-1.safetensors")
    path.write_bytes(b"torn")
    assert len(recipe.fit.seen) == 2
    assert same(first, repeated(recipe, cache=tmp_path))
    assert len(recipe.fit.seen) == 2  # an unlearned model is there, so its original is not missed


def test_a_model_with_a_layer_more_comes_back_too(tmp_path):
    recipe, done = Recipe(build, Counting()), outcome(Appending())
    first = repeated(recipe, found=done, cache=tmp_path)
    again = repeated(recipe, found=done, cache=tmp_path)
    assert len(recipe.fit.seen) == 2
    assert same(first, again)
    seen = snapshot(again.members[0].load(), done.split, TASK)
    assert torch.equal(seen.test.logits, first.members[0].snapshot.test.logits)


def test_a_purge_leaves_nothing_since_the_originals_saw_everybody(tmp_path):
    repeated(Recipe(build, Counting()), cache=tmp_path)
    purge(torch.tensor([2]), data_digest(data()), tmp_path)
    assert list(tmp_path.glob("*/*")) == []


def test_generators_come_back_and_progress_is_heard():
    heard, done = [], outcome()
    drawn = torch.get_rng_state()
    repeated(Recipe(build, Counting()), found=done, progress=lambda *told: heard.append(told))
    assert heard == [("repeat", count, 2) for count in range(3)]
    assert torch.equal(torch.get_rng_state(), drawn)


def test_what_somebody_else_did_cannot_be_repeated():
    done = outcome()
    foreign = Outcome.of(done.before, done.after, done.split, task=TASK)
    with pytest.raises(MissingInput, match="cannot be repeated"):
        repeated(Recipe(build, Counting()), found=foreign)


def test_a_seed_that_is_named_twice_is_refused():
    with pytest.raises(BadSetting, match="named twice"):
        repeated(Recipe(build, Counting()), seeds=(1, 1))
