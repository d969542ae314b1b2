"""What retrained models answered once is kept beside them, and told by all it hangs on."""

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
ONES = [{"one": torch.ones(2), "b.c": torch.zeros(1)}, {"one": torch.tensor([torch.inf])}]


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


def steps_of(original, cache, *, seeds=2, **settings):
    """What a fresh process finds: nothing of an earlier one is in its memory."""
    references = retrain(PARTS, RECIPE, task=TASK, seeds=seeds, cache=cache)
    outcome = unlearn(original, PARTS, Finetune(epochs=1), task=TASK)
    metric = Relearning(build=build, runs=2, steps=20, **settings)
    found = audit(outcome, [metric], references=references).measurements
    return {m.name: (m.value, m.original, *m.target) for m in found}


def test_references_are_taught_again_once_for_all_processes_of_a_cache(original, tmp_path, taught):
    first = steps_of(original, tmp_path)
    assert len(taught) == 5  # two references, the original, an untrained one; the unlearned
    assert steps_of(original, tmp_path) == first
    assert len(taught) == 6


@pytest.mark.parametrize("change", [{"seeds": 3}, {"lr": 0.01}, {"replay": 3}])
def test_another_question_is_no_old_answer(original, tmp_path, taught, change):
    steps_of(original, tmp_path)
    before = len(taught)
    steps_of(original, tmp_path, **change)
    assert len(taught) - before == 5 + (change.get("seeds") == 3)


def test_without_a_cache_nothing_is_written_and_all_are_taught(original, taught):
    assert steps_of(original, None) == steps_of(original, None)
    assert len(taught) == 10


def test_a_purge_takes_what_was_asked_about_the_forgotten(original, tmp_path):
    steps_of(original, tmp_path)
    assert [*tmp_path.glob("*/asked-*")]
    purge(torch.tensor([2]), data_digest(PARTS.retain.source), tmp_path)
    assert not [*tmp_path.glob("*/asked-*")]


def test_what_was_asked_is_written_and_read_by_name(tmp_path):
    asked = []
    for digest, times in (("x", 1), ("x", 1), ("y", 2)):
        found = Notebook(tmp_path).written(digest, lambda: asked.append(None) or ONES)
        assert len(asked) == times
        assert [{name: v.tolist() for name, v in each.items()} for each in found] == [
            {"one": [1, 1], "b.c": [0]}, {"one": [torch.inf]}
        ]  # fmt: skip


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-4], lambda raw: raw[:-4] + b"\0\0\0\x40"])
def test_torn_or_changed_answers_are_found_again(tmp_path, caplog, spoil):
    Notebook(tmp_path).written("x", lambda: ONES)
    (path,) = tmp_path.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    asked = []
    for _ in range(2):
        Notebook(tmp_path).written("x", lambda: asked.append(None) or ONES)
    assert len(asked) == 1
    assert "asked again" in caplog.text
