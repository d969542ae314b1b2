"""A shelf keeps models of one making apart from those of another, and gives them back."""

import time
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Fit, Recipe, Request, Samples, split
from expunge.batching import Batches
from expunge.observing import snapshot
from expunge.shelving import Shelf, answers_of, begun, loaded, purge, snapshot_of, trained
from expunge.splitting import Part

D, C = 4, 3


def build():
    return nn.Linear(D, C)


def noisy(model, dataset):
    """No training at all, but it draws a number."""
    assert len(dataset)
    with torch.no_grad():
        model.bias.copy_(torch.rand(C))
    return model


RECIPE = Recipe(build, noisy)


def data(n):
    draw = torch.Generator().manual_seed(n)
    return TensorDataset(torch.randn(n, D, generator=draw), torch.arange(n) % C)


def weights(model):
    return torch.cat([p.flatten() for p in model.parameters()])


def test_a_model_comes_back_with_its_answers(tmp_path):
    shelf = Shelf.of(tmp_path, "shadow", {"a": 1}, train="digest", unseen=())
    model, answers = build(), {"scores": torch.arange(5.0)}
    shelf.keep(7, model, answers, 1.5)
    kept = shelf.find(7, dict)
    assert torch.equal(kept.answers["scores"], answers["scores"])
    assert kept.seconds == 1.5
    assert torch.equal(weights(loaded(build, shelf.weights(7))), weights(model))
    assert shelf.find(8, dict) is None


def test_what_made_the_models_names_their_shelf(tmp_path):
    one, other = (Shelf.of(tmp_path, "shadow", {"a": k}, train="digest", unseen=()) for k in (1, 2))
    one.keep(0, build(), {}, 1.0)
    assert other.find(0, dict) is None


def test_models_that_saw_everybody_go_as_a_whole_with_anybody(tmp_path):
    shelf = Shelf.of(tmp_path, "shadow", {}, train="digest", unseen=())
    shelf.keep(0, build(), {"scores": torch.zeros(2)}, 1.0)
    purge(torch.tensor([3]), "digest", tmp_path)
    assert list(shelf.folder.iterdir()) == []


def test_two_roles_of_one_seed_draw_other_numbers_and_the_same_role_draws_the_same():
    part = Part.whole(data(6))
    one, again = (trained(RECIPE, part, "shadow", 3, None) for _ in range(2))
    other = trained(RECIPE, part, "reference", 3, None)
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(other))


def test_a_snapshot_that_was_taken_apart_is_put_together_again():
    parts, task = split(data(11), Request(Samples((1, 4))), test=data(5)), Classification()
    seen = snapshot(build(), parts, task)
    again = snapshot_of(answers_of(seen), task, (2,))
    assert torch.equal(again.forget.logits, seen.forget.logits)
    assert torch.equal(again.test.labels, seen.test.labels)
    assert again.retain.ids.tolist() == seen.retain.ids.tolist()
    assert again.removed == (2,)


CLOCK = [0.0]


def passing(batch):
    """A second goes by."""
    CLOCK[0] += 1
    return batch


class Stopped(Exception):
    """The power went out."""


def test_what_a_training_took_before_it_was_interrupted_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", lambda: CLOCK[0])
    shelf = Shelf.of(tmp_path, "reference", {}, train="digest", unseen=())
    part, fit = Part.whole(data(20)), Fit(epochs=4, batch=7, augment=passing)

    def taken(stop):
        def hear(_step, done, _total):
            if done == stop:
                raise Stopped

        started = begun(0, shelf)
        trained(Recipe(build, replace(fit, progress=hear)), part, "reference", 0, shelf)
        return time.perf_counter() - started

    for epoch in (1, 3):
        with pytest.raises(Stopped):
            taken(epoch)
    assert taken(None) == CLOCK[0] == 4 * len(Batches(part, 7))
