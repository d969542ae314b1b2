"""A purge removes what a cache holds of forgotten samples, and no more than that."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Recipe, Request, Samples, split
from expunge.batching import data_digest
from expunge.retraining import retrain
from expunge.shelving import purge
from expunge.storing import forget_file, read_json

TASK = Classification()


GONE = (2, 3, 5)


def build():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def data(n=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 4, generator=generator), torch.arange(n) % 3)


def parts(indices=GONE, *, train=None, test=None, **given):
    return split(
        data() if train is None else train,
        Request(Samples(indices), **given),
        test=data(11, 1) if test is None else test,
    )


def folder_of(cache):
    (about,) = cache.glob("*/about.json")
    return about.parent


def trainings(cache, *, chosen=None, seeds=1):
    """How many models one call trains, on a cache that may hold some."""
    calls = []

    def fit(model, dataset):
        calls.append(dataset)
        return model

    chosen = parts() if chosen is None else chosen
    retrain(chosen, Recipe(build, fit), task=TASK, seeds=seeds, cache=cache)
    return len(calls)


def kept(cache):
    return sorted(path.name for path in cache.glob("*/*"))


def test_a_purge_takes_answers_from_the_innocent_and_leaves_their_weights(tmp_path):
    trainings(tmp_path, seeds=1)
    removed = purge(torch.tensor(GONE), data_digest(data()), tmp_path)
    assert [path.name for path in removed] == ["reference-0.answers.safetensors"]
    assert kept(tmp_path) == ["about.json", "reference-0.safetensors"]
    assert trainings(tmp_path, seeds=1) == 0


def test_a_purge_takes_everything_from_models_that_were_trained_on_the_sample(tmp_path):
    trainings(tmp_path, seeds=2)
    removed = purge(torch.tensor([2, 7]), data_digest(data()), tmp_path)
    assert len(removed) == 5
    assert kept(tmp_path) == []
    assert trainings(tmp_path, seeds=2) == 2


def test_a_purge_takes_half_trained_models_too(tmp_path):
    trainings(tmp_path, seeds=1)
    training = folder_of(tmp_path) / "training-3.safetensors"
    training.write_bytes(b"half")
    purge(torch.tensor([8]), data_digest(data()), tmp_path)
    assert not training.exists()


def test_a_purge_that_was_interrupted_can_be_done_again(tmp_path, monkeypatch):
    trainings(tmp_path, seeds=2)
    removed = []

    def forget_two(path):
        if len(removed) == 2:
            raise KeyboardInterrupt
        removed.append(path)
        return forget_file(path)

    with monkeypatch.context() as cut:
        cut.setattr("expunge.shelving.forget_file", forget_two)
        with pytest.raises(KeyboardInterrupt):
            purge(torch.tensor([7]), data_digest(data()), tmp_path)
    assert kept(tmp_path)
    purge(torch.tensor([7]), data_digest(data()), tmp_path)
    assert kept(tmp_path) == []


def test_a_purge_leaves_other_training_sets_alone(tmp_path):
    trainings(tmp_path, seeds=1)
    before = kept(tmp_path)
    assert purge(torch.tensor([2, 7]), data_digest(data(30, 9)), tmp_path) == []
    assert kept(tmp_path) == before


def test_a_purge_goes_through_every_request_of_the_training_set(tmp_path):
    trainings(tmp_path, seeds=1)
    trainings(tmp_path, seeds=1, chosen=parts((4, 9)))
    purge(torch.tensor([4, 9]), data_digest(data()), tmp_path)
    assert kept(tmp_path) == ["about.json", "reference-0.safetensors"]
    assert trainings(tmp_path, seeds=1, chosen=parts((4, 9))) == 0
    assert trainings(tmp_path, seeds=1) == 1


def test_a_purge_leaves_no_position_behind_and_a_second_one_errs_on_the_safe_side(tmp_path):
    trainings(tmp_path, seeds=1)
    purge(torch.tensor(GONE), data_digest(data()), tmp_path)
    assert read_json(folder_of(tmp_path) / "about.json", "references")["forget"] == []
    purge(torch.tensor(GONE), data_digest(data()), tmp_path)
    assert kept(tmp_path) == []


def test_a_folder_that_is_no_cache_is_left_alone(tmp_path):
    assert purge(torch.tensor([1]), "digest", tmp_path / "nowhere") == []
