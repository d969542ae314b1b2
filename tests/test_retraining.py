"""References: trained once, found again, mended when they are torn."""

import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Fit, MultiLabel, Recipe, Request, Samples, split
from expunge.accounting import as_json
from expunge.errors import BadSetting, BatchUnreadable, TargetMismatch
from expunge.methods.retrain import Retrain
from expunge.retraining import retrain
from expunge.splitting import Part
from expunge.unlearning import unlearn

TASK = Classification()


GONE = (2, 3, 5)


def build():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def build_of(width):
    """One source, and another network for every width."""
    return lambda: nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


class Counting:
    """Counts how often it trains."""

    def __init__(self, fit=None):
        self.calls, self.fit = 0, fit or Fit(epochs=2, batch=7)

    def __call__(self, model, dataset):
        self.calls += 1
        return self.fit(model, dataset)

    def describe(self):
        return self.fit.describe()


def data(n=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 4, generator=generator), torch.arange(n) % 3)


def parts(indices=GONE, *, train=None, test=None, **given):
    return split(
        data() if train is None else train,
        Request(Samples(indices), **given),
        test=data(11, 1) if test is None else test,
    )


def trainings(tmp_path, *, chosen=None, recipe=None, task=TASK, seeds=2):
    """How many models one call trains, on a cache that may hold some."""
    recipe = Recipe(build, Counting()) if recipe is None else recipe
    retrain(parts() if chosen is None else chosen, recipe, task=task, seeds=seeds, cache=tmp_path)
    return recipe.fit.calls


def weights(reference):
    return torch.cat([p.flatten() for p in reference.load().parameters()])


def same(a, b):
    for part in ("forget", "retain", "test"):
        one, other = getattr(a.snapshot, part), getattr(b.snapshot, part)
        for name in ("ids", "logits", "labels"):
            if not torch.equal(getattr(one, name), getattr(other, name)):
                return False
    return torch.equal(weights(a), weights(b)) and (a.seed, a.digest) == (b.seed, b.digest)


def folder_of(cache):
    (about,) = cache.glob("*/about.json")
    return about.parent


def test_references_never_see_the_forget_set():
    seen = []

    def fit(model, dataset):
        seen.append(dataset.indices.tolist())
        return model

    found = retrain(parts(), Recipe(build, fit), task=TASK, seeds=1)
    assert seen == [[i for i in range(30) if i not in GONE]]
    assert found.members[0].snapshot.forget.ids.tolist() == list(GONE)


def test_seeds_are_a_number_or_named_and_give_different_models():
    chosen, recipe = parts(), Recipe(build, Fit(epochs=1, batch=7))
    found = retrain(chosen, recipe, task=TASK, seeds=3)
    named = retrain(chosen, recipe, task=TASK, seeds=(2, 0))
    assert [m.seed for m in found.members] == [0, 1, 2]
    assert len({m.digest for m in found.members}) == 3
    assert [m.digest for m in named.members] == [found.members[2].digest, found.members[0].digest]


@pytest.mark.parametrize("cached", [False, True])
def test_global_generators_come_back(cached, tmp_path):
    drawn = torch.get_rng_state()
    for _ in range(2):
        given = {"cache": tmp_path} if cached else {}
        found = retrain(parts(), Recipe(build, Fit(epochs=1)), task=TASK, seeds=1, **given)
        found.members[0].load()
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_second_call_trains_nothing_and_finds_the_same(tmp_path):
    recipe = Recipe(build, Counting())
    fresh = retrain(parts(), recipe, task=TASK, seeds=2)
    first = retrain(parts(), recipe, task=TASK, seeds=2, cache=tmp_path)
    assert recipe.fit.calls == 4
    second = retrain(parts(), recipe, task=TASK, seeds=2, cache=tmp_path)
    assert recipe.fit.calls == 4
    for a, b, c in zip(fresh.members, first.members, second.members, strict=True):
        assert same(a, b)
        assert same(b, c)
        assert b.seconds == c.seconds
        assert not c.load().training


def test_more_seeds_train_only_what_is_missing(tmp_path):
    assert trainings(tmp_path, seeds=2) == 2
    assert trainings(tmp_path, seeds=5) == 3
    assert trainings(tmp_path, seeds=(4, 1)) == 0


def test_who_asked_and_when_makes_no_difference(tmp_path):
    trainings(tmp_path)
    other = parts(tuple(reversed(GONE)), id="other", subject="somebody", reason="asked")
    assert trainings(tmp_path, chosen=other) == 0


def changed_bytes():
    x, y = data().tensors
    x = x.clone()
    x[17, 2] += 1e-6
    return TensorDataset(x, y)


CHANGES = {
    "forget set": {"chosen": parts((2, 3))},
    "training data": {"chosen": parts(train=changed_bytes())},
    "test data": {"chosen": parts(test=data(11, 2))},
    "settings": {"recipe": Recipe(build, Counting(Fit(epochs=2, batch=7, lr=0.01)))},
    "model": {"recipe": Recipe(build_of(9), Counting())},
    "name": {"recipe": Recipe(build, Counting(), name="v2")},
    "layer": {"task": Classification(layer="0")},
}


@pytest.mark.parametrize("what", CHANGES)
def test_everything_that_changes_the_references_is_in_the_key(what, tmp_path):
    trainings(tmp_path)
    assert trainings(tmp_path, **CHANGES[what]) == 2


def test_networks_of_one_source_and_another_size_are_told_apart(tmp_path):
    trainings(tmp_path, recipe=Recipe(build_of(6), Counting()))
    assert trainings(tmp_path, recipe=Recipe(build_of(9), Counting())) == 2
    assert trainings(tmp_path, recipe=Recipe(build_of(6), Counting())) == 0


def test_two_kinds_of_task_do_not_share_answers(tmp_path):
    trainings(tmp_path)
    multilabel = Recipe(build, Fit(epochs=2, batch=7, task=MultiLabel()))
    with pytest.raises(BatchUnreadable, match="multi-label"):
        retrain(parts(), multilabel, task=MultiLabel(), seeds=2, cache=tmp_path)
    assert as_json(Classification()) != as_json(MultiLabel())


def test_what_only_reports_is_not_in_the_key(tmp_path):
    trainings(tmp_path)
    fit = Fit(epochs=2, batch=7, progress=lambda *_: None, checkpoint=tmp_path / "elsewhere")
    assert trainings(tmp_path, recipe=Recipe(build, Counting(fit))) == 0


class Stopped(Exception):
    """The power went out."""


def test_an_interrupted_call_keeps_what_is_finished_and_continues(tmp_path):
    def hear(step, done, _total):
        if step == "train" and done == 2:
            raise Stopped

    fit = Fit(epochs=3, batch=7, augment=lambda b: (b[0] + torch.randn_like(b[0]) / 9, b[1]))
    chosen = parts()
    first = retrain(chosen, Recipe(build, fit), task=TASK, seeds=1, cache=tmp_path)
    with pytest.raises(Stopped):
        retrain(
            chosen, Recipe(build, replace(fit, progress=hear)), task=TASK, seeds=2, cache=tmp_path
        )
    names = {path.name for path in folder_of(tmp_path).iterdir()}
    assert "reference-0.safetensors" in names
    assert "training-1.safetensors" in names
    assert not any(name.endswith(".partial") or "reference-1" in name for name in names)
    found = retrain(chosen, Recipe(build, fit), task=TASK, seeds=2, cache=tmp_path)
    fresh = retrain(chosen, Recipe(build, fit), task=TASK, seeds=2)
    assert same(found.members[0], first.members[0])
    assert same(found.members[1], fresh.members[1])
    assert not list(folder_of(tmp_path).glob("training-*"))


def test_lost_answers_are_asked_for_again_without_training(tmp_path):
    recipe, chosen = Recipe(build, Counting()), parts()
    first = retrain(chosen, recipe, task=TASK, seeds=1, cache=tmp_path)
    answers = folder_of(tmp_path) / "reference-0.answers.safetensors"
    answers.unlink()
    again = retrain(chosen, recipe, task=TASK, seeds=1, cache=tmp_path)
    assert recipe.fit.calls == 1
    assert same(first.members[0], again.members[0])
    assert answers.exists()


@pytest.mark.parametrize("content", [b"", b"torn", "foreign"])
@pytest.mark.parametrize("name", ["reference-0.safetensors", "reference-0.answers.safetensors"])
def test_a_torn_file_is_mended_once(name, content, tmp_path, caplog):
    recipe, chosen = Recipe(build, Counting()), parts()
    first = retrain(chosen, recipe, task=TASK, seeds=1, cache=tmp_path)
    path = folder_of(tmp_path) / name
    if content == "foreign":
        save_file({"w": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="expunge"):
        again = retrain(chosen, recipe, task=TASK, seeds=1, cache=tmp_path)
    assert same(first.members[0], again.members[0])
    assert "reference 0" in caplog.text
    mended = recipe.fit.calls
    assert mended == (1 if "answers" in name else 2)
    third = retrain(chosen, recipe, task=TASK, seeds=1, cache=tmp_path)
    assert recipe.fit.calls == mended
    assert same(first.members[0], third.members[0])


def test_an_attribute_request_has_no_references():
    chosen = split(data(), Request(Attribute("hat")), test=data(5))
    with pytest.raises(TargetMismatch, match="removes nobody"):
        retrain(chosen, Recipe(build, Fit(epochs=1)), task=TASK, seeds=1)


def test_progress_is_heard_model_by_model():
    heard = []
    retrain(
        parts(), Recipe(build, Fit(epochs=1)), task=TASK, seeds=2,
        progress=lambda *told: heard.append(told),
    )  # fmt: skip
    assert heard == [("retrain", done, 2) for done in range(3)]


def test_a_reference_in_memory_is_the_trained_model_itself():
    made = []

    def fit(model, dataset):
        made.append(Fit(epochs=1, batch=7)(model, dataset))
        return made[-1]

    found = retrain(parts(), Recipe(build, fit), task=TASK, seeds=1)
    assert found.members[0].load() is made[0]


def test_a_seed_that_is_named_twice_is_refused():
    with pytest.raises(BadSetting, match="named twice"):
        retrain(parts(), Recipe(build, Fit(epochs=1)), task=TASK, seeds=(3, 3))


def test_retraining_leaves_the_history_of_the_original_alone(tmp_path):
    chosen, path = parts(), tmp_path / "history"
    recipe = Recipe(build, Fit(epochs=1, batch=7, record=path))
    original = recipe.train(Part.whole(chosen.retain.source))
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert before
    for cache in (None, tmp_path / "cache"):
        retrain(chosen, recipe, task=TASK, seeds=1, cache=cache)
    unlearn(original, chosen, Retrain(recipe), task=TASK)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
