"""What is special about SISA: it is exact, bit for bit, and trains no more than it must."""

from copy import deepcopy

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Recipe, Request, Samples, split
from expunge.errors import BadSetting, CannotWrite, ModelDoesNotFit
from expunge.fitting import Fit
from expunge.methods.sisa import Sisa
from expunge.seeding import seeded, stream
from expunge.splitting import Part
from expunge.storing import save_tensors
from expunge.testing import check_method, toy
from expunge.unlearning import unlearn

TASK, SIZE = Classification(), 101  # no number of shards or slices divides it


def build():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))


RECIPE = Recipe(build, Fit(epochs=3, lr=0.1, batch=11), "sisa-test")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(SIZE, 5, generator=generator), torch.arange(SIZE) % 3)


@pytest.fixture
def sisa(tmp_path):
    return Sisa(RECIPE, tmp_path / "shards", shards=4, slices=3)


def without(data, *ids):
    return split(data, Request(Samples(ids)), test=data)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def by_hand(data, ids):
    """Every shard by plain loops, from the division that the seed gives; two epochs a slice."""
    order = torch.randperm(
        SIZE, generator=torch.Generator().manual_seed(stream("shards", 0))
    ).tolist()
    sizes, shards, at = [26, 25, 25, 25], [], 0
    for k, size in enumerate(sizes):
        own, at = order[at : at + size], at + size
        ends = [9, 18, 26] if size == 26 else [9, 17, 25]
        with seeded(stream("shards", 0, k)):
            model = build()
        for j, end in enumerate(ends, 1):
            seen = torch.tensor(sorted(i for i in own[:end] if i in ids))
            with seeded(stream("shards", 0, k, j)):
                # three epochs in all are 2 * 3 / (3 + 1), rounded, for every slice
                Fit(epochs=2, lr=0.1, batch=11)(model, Part(data, seen))
        shards.append(model)
    return shards


def test_shards_are_those_of_plain_loops_and_no_sample_is_dropped(data, sisa):
    ensemble = sisa.train(data)
    for mine, model in zip(by_hand(data, range(SIZE)), ensemble.shards.values(), strict=True):
        assert same(mine, model)


def test_to_forget_equals_training_without_them_bit_for_bit(data, sisa, tmp_path):
    parts = without(data, 5, 17)
    after = unlearn(sisa.train(data), parts, sisa, task=TASK).after
    fresh = Sisa(RECIPE, tmp_path / "elsewhere", shards=4, slices=3).train(parts.retain)
    assert same(after.shards, fresh.shards)
    assert torch.equal(after.present, fresh.present)
    kept = parts.retain.indices.tolist()
    for mine, model in zip(by_hand(data, kept), after.shards.values(), strict=True):
        assert same(mine, model)


def test_only_affected_slices_are_trained_again(data, sisa):
    last = torch.randperm(SIZE, generator=torch.Generator().manual_seed(stream("shards", 0)))[
        -1
    ]  # in the last slice of the last shard
    model = sisa.train(data)
    outcome = unlearn(model, without(data, int(last)), sisa, task=TASK)
    assert outcome.notes[-1].startswith("1 of 4 shards and 1 of 12 slices were trained again")
    assert same(outcome.after.shards["0"], model.shards["0"])
    assert not same(outcome.after.shards["3"], model.shards["3"])


def test_kept_models_that_knew_a_sample_are_deleted(data, sisa):
    model = sisa.train(data)
    unlearn(model, without(data, 5), sisa, task=TASK)
    for path in sisa.folder.glob("*.safetensors"):
        assert 5 not in load_file(path)["ids"].tolist()


def test_requests_one_after_another_equal_both_at_once(data, sisa):
    model = sisa.train(data)
    first = unlearn(model, without(data, 5), sisa, task=TASK).after
    second = unlearn(first, without(data, 17), sisa, task=TASK).after
    assert same(second, unlearn(model, without(data, 5, 17), sisa, task=TASK).after)


def test_a_run_that_was_interrupted_goes_on(data, sisa, tmp_path, monkeypatch):
    whole = Sisa(RECIPE, tmp_path / "whole", shards=4, slices=3).train(data)
    written = []

    def stubborn(path, *what):
        if len(written) == 5:
            raise CannotWrite("the disk is full")
        written.append(path)
        save_tensors(path, *what)

    monkeypatch.setattr("expunge.sharding.save_tensors", stubborn)
    with pytest.raises(CannotWrite):
        sisa.train(data)
    written.insert(0, "the disk has room again")
    assert same(sisa.train(data), whole)
    assert len(set(written)) == len(written) == 1 + 12


def test_a_class_can_leave_and_a_shard_without_samples_does_not_vote(data, tmp_path):
    sisa = Sisa(RECIPE, tmp_path / "few", shards=4, slices=1)
    order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(stream("shards", 0)))
    after = unlearn(sisa.train(data), without(data, *order[:26].tolist()), sisa, task=TASK).after
    assert list(after.shards) == ["1", "2", "3"]
    parts = split(data, Request(Classes((1,))), test=data)
    outcome = unlearn(after, parts, sisa, task=TASK)
    assert outcome.notes[-1].startswith("3 of 4 shards")


def test_answers_are_the_mean_of_probabilities_or_the_majority(data, tmp_path):
    x, said = data.tensors[0], []
    for vote in ("mean", "majority"):
        model = Sisa(RECIPE, tmp_path, shards=3, slices=1, vote=vote).train(data)
        with torch.no_grad():
            chances = torch.stack([m(x).softmax(1) for m in model.shards.values()])
            said.append(model(x))
    torch.testing.assert_close(said[0].exp(), chances.mean(0))
    votes = chances.argmax(2)
    most = votes.mode(0)
    sure = (votes == most.values).sum(0) > 1  # three different votes: the mean decides
    assert torch.equal(said[1].argmax(1)[sure], most.values[sure])
    assert torch.equal(said[1].argmax(1)[~sure], chances.mean(0).argmax(1)[~sure])


def test_a_model_that_it_did_not_train_is_refused_with_advice(data, sisa, tmp_path):
    with pytest.raises(ModelDoesNotFit, match=r"Sisa\(recipe, folder\).train\(data\)"):
        unlearn(build(), without(data, 5), sisa, task=TASK)
    other = Sisa(RECIPE, tmp_path / "shards", shards=4, slices=3, seed=1)
    with pytest.raises(ModelDoesNotFit, match="another recipe, seed or division"):
        unlearn(sisa.train(data), without(data, 5), other, task=TASK)


def test_more_parts_than_samples_are_refused(data, tmp_path):
    with pytest.raises(BadSetting, match="cannot be divided"):
        Sisa(RECIPE, tmp_path, shards=20, slices=6).train(data)


def test_an_ensemble_keeps_the_promises_of_methods(tmp_path, monkeypatch):
    problem = toy()
    fresh = deepcopy(problem.model)
    recipe = Recipe(lambda: deepcopy(fresh), Fit(epochs=1, lr=0.1, batch=23), "toy")
    sisa = Sisa(recipe, tmp_path, shards=3, slices=2)
    stand_in = type(problem)(sisa.train(problem.split.retain.source), problem.split, problem.task)
    monkeypatch.setattr("expunge.testing.toy", lambda *_, **__: stand_in)
    check_method(sisa)


def test_the_state_of_an_ensemble_from_which_somebody_left_does_not_list_them(data, sisa):
    after = unlearn(sisa.train(data), without(data, 5, 17), sisa, task=TASK).after
    assert (~after.present).nonzero().flatten().tolist() == [5, 17]
    assert "present" not in after.state_dict()
