"""What retrained models answered once is kept beside them, and told by all it hangs on."""

from dataclasses import dataclass
from math import inf

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Recipe, Request, split, unlearn
from expunge.auditing import audit
from expunge.batching import data_digest
from expunge.fitting import Fit
from expunge.methods.finetune import Finetune
from expunge.metrics.relearning import Relearning
from expunge.remembering import Notebook
from expunge.reteaching import Lesson
from expunge.retraining import retrain
from expunge.shelving import purge
from expunge.splitting import Part

N, TEST, D, C = 240, 120, 6, 4
TASK = Classification()
FOUND = {"one": torch.ones(2), "b.c": torch.tensor([inf])}


def data(n, seed):
    y, draw = torch.arange(n) % C, torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, D, generator=draw) + 3 * F.one_hot(y, D), y)


def build():
    return nn.Sequential(nn.Linear(D, 12), nn.ReLU(), nn.Linear(12, C))


PARTS = split(data(N, 0), Request(Classes((2,))), test=data(TEST, 1))
RECIPE = Recipe(build, Fit(epochs=12, lr=0.1, batch=30))


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    return RECIPE.train(Part.whole(PARTS.retain.source))


@pytest.fixture
def taught(monkeypatch):
    """How many copies were taught, one entry for every model."""
    seen, runs = [], Lesson.runs

    def spied(self, model, count):
        seen.append(count)
        return runs(self, model, count)

    monkeypatch.setattr(Lesson, "runs", spied)
    return seen


def steps_of(
    original, cache, *, seeds=2, task=TASK, parts=PARTS, fresh=build, recipe=RECIPE, **settings
):
    """What a process finds by its own; nothing of an earlier one is in its memory."""
    references = retrain(PARTS, recipe, task=TASK, seeds=seeds, cache=cache)
    outcome = unlearn(original, parts, Finetune(epochs=1), task=task)
    metric = Relearning(build=fresh, runs=2, steps=20, **settings)
    found = audit(outcome, [metric], references=references).measurements
    return {m.name: (m.value, m.original, *m.target) for m in found}


def test_references_are_taught_again_once_for_all_processes_of_a_cache(original, tmp_path, taught):
    first = steps_of(original, tmp_path)
    assert len(taught) == 5  # two references, the original, an untrained one; the unlearned
    assert steps_of(original, tmp_path) == first
    assert len(taught) == 6


@dataclass(frozen=True)
class Smoothed(Classification):
    """Another loss, by the same name of its kind."""

    def loss(self, model, batch):
        return super().loss(model, batch) + 0.1 * model(batch[0]).square().mean(1)


class Deaf(nn.Sequential):
    """The same weights, and other answers."""

    def forward(self, x):
        return super().forward(x.clamp_min(9))


def moved():
    x, y = PARTS.retain.source.tensors
    return split(TensorDataset(x.flip(1), y), PARTS.requests[0], test=PARTS.test.source)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"lr": 0.01}, 5),
        ({"replay": 3}, 5),
        ({"task": Smoothed()}, 5),
        ({"parts": moved()}, 5),
        ({"fresh": lambda: Deaf(*build())}, 2),  # with the unlearned
    ],
)
def test_another_question_is_no_old_answer(original, tmp_path, taught, change, again):
    steps_of(original, tmp_path)
    before = len(taught)
    steps_of(original, tmp_path, **change)
    assert len(taught) - before == again


def test_without_a_cache_nothing_is_written_and_all_are_taught(original, taught):
    assert steps_of(original, None) == steps_of(original, None)
    assert len(taught) == 10


def test_a_purge_takes_what_was_asked_about_the_forgotten(original, tmp_path):
    steps_of(original, tmp_path)
    assert [*tmp_path.glob("*/asked-*")]
    purge(torch.tensor([2]), data_digest(PARTS.retain.source), tmp_path)
    assert not [*tmp_path.glob("*/asked-*")]


class Described(nn.Sequential):
    """A model that tells of itself, and not of its weights."""

    def describe(self):
        return {"name": "mine"}


def test_models_that_tell_of_themselves_are_told_apart_by_their_weights(original, tmp_path, taught):
    steps_of(original, tmp_path, recipe=Recipe(lambda: Described(*build()), RECIPE.fit))
    assert len(taught) == 5


def test_one_more_reference_is_taught_alone(original, tmp_path, taught):
    steps_of(original, tmp_path)
    before = len(taught)
    steps_of(original, tmp_path, seeds=3)
    assert len(taught) == before + 2  # with the unlearned


def test_what_was_found_out_is_written_and_read_by_name(tmp_path):
    asked = []
    for digest, times in (("x", 1), ("x", 1), ("y", 2)):
        found = Notebook(tmp_path).written(digest, lambda: asked.append(None) or FOUND)
        assert len(asked) == times
        assert {name: v.tolist() for name, v in found.items()} == {"one": [1, 1], "b.c": [inf]}


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-4], lambda raw: raw[:-4] + b"\0\0\0\x40"])
def test_torn_or_changed_numbers_are_found_again(tmp_path, caplog, spoil):
    Notebook(tmp_path).written("x", lambda: FOUND)
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    asked = []
    for _ in range(2):
        Notebook(tmp_path).written("x", lambda: asked.append(None) or FOUND)
    assert len(asked) == 1
    assert "asked again" in caplog.text


def test_what_cannot_be_written_is_found_all_the_same(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert Notebook(tmp_path / "file").written("x", lambda: FOUND) is FOUND
    assert "asked again" in caplog.text
