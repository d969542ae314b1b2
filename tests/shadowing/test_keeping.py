"""What a cache keeps of shadow models: nothing is made twice, and nothing stays of who must go."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Fit, Outcome, Recipe, Regression, Request, Samples, retrain, split
from expunge.batching import data_digest
from expunge.errors import Diverged
from expunge.problems.networks import mlp
from expunge.shadowing import shadow, shadow_of
from expunge.shelving import purge
from expunge.splitting import Part
from expunge.storing import load_tensors, save_tensors


def made(world, cache, **given):
    given = {"count": 4, "cache": cache, "way": "loop", **given}
    return shadow_of(world.outcome(method=given.pop("by", world.drop())), world.recipe, **given)


def files(cache, pattern):
    return sorted(cache.glob(f"*/{pattern}"))


def same(one, other):
    return one.digest == other.digest and torch.equal(one.original, other.original)


def test_nothing_is_trained_or_forgotten_twice(world, tmp_path):
    first = made(world, tmp_path, retrained=1, mirror=True)
    trained, forgotten = len(world.fit.seen), len(world.forgotten)
    again = made(world, tmp_path, retrained=1, mirror=True)
    assert (trained, forgotten) == (6, 5)
    assert (len(world.fit.seen), len(world.forgotten)) == (trained, forgotten)
    assert same(first, again)
    assert again.seconds == first.seconds


def test_an_interrupted_call_goes_on_where_it_stopped(world, tmp_path):
    world.fit.most = 3
    with pytest.raises(world.cut):
        made(world, tmp_path)
    world.fit.most = 1000
    found = made(world, tmp_path)
    assert len(world.fit.seen) == 4
    assert same(found, made(world, None))


def test_one_that_stops_while_it_forgets_trains_nobody_again(world, tmp_path):
    def cut(step, done, _total):
        if step.startswith("unlearn") and done == 2:
            raise world.cut

    with pytest.raises(world.cut):
        made(world, tmp_path, progress=cut)
    assert len(files(tmp_path, "shadow-*.answers.safetensors")) == 4 + 1
    made(world, tmp_path)
    assert (len(world.fit.seen), len(world.forgotten)) == (4, 2 + 3)


def test_more_shadows_take_those_that_are_there(world, tmp_path):
    few = made(world, tmp_path, count=2)
    more = made(world, tmp_path, count=6)
    assert len(world.fit.seen) == 6
    assert torch.equal(more.scores[:2], few.scores)


def test_another_method_or_other_settings_take_the_same_trained_models(world, tmp_path):
    first = made(world, tmp_path)
    other = made(world, tmp_path, by=world.drop(by=2.0))
    none = made(world, tmp_path, by=None)
    assert len(world.fit.seen) == 4
    assert torch.equal(first.original, other.original)
    assert torch.equal(none.scores, first.original)
    assert not torch.equal(first.scores, other.scores)
    assert (first.method, none.method) == (other.method, "")


def test_other_data_to_look_at_is_forgotten_with_anew(world, tmp_path):
    for aside in (None, world.test, world.train):
        outcome = world.outcome(method=world.drop())
        split = replace(outcome.split, validation=aside and Part.whole(aside))
        shadow_of(replace(outcome, split=split), world.recipe, count=2, cache=tmp_path, way="loop")
    assert (len(world.fit.seen), len(world.forgotten)) == (2, 3 * 2)


def test_another_seed_or_another_way_of_drawing_makes_other_models(world, tmp_path):
    one, other = (made(world, tmp_path, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.trained, other.trained)
    draw = partial(shadow, world.recipe, world.train, task=world.task, cache=tmp_path, way="loop")
    in_pairs, alone = draw(count=2), draw(count=2, pairs=False)
    assert len(world.fit.seen) == 4 + 4 + 2 + 2
    assert not torch.equal(in_pairs.trained, alone.trained)


def test_what_another_version_wrote_is_made_again_and_that_is_said(world, tmp_path, caplog):
    made(world, tmp_path)
    path = files(tmp_path, "shadow-1.safetensors")[0]
    tensors, meta = load_tensors(path)
    save_tensors(path, tensors, meta | {"expunge": "99"})
    with caplog.at_level(logging.WARNING, "expunge"):
        again = made(world, tmp_path)
    assert len(world.fit.seen) == 5
    assert "shadow 1 is trained again" in caplog.text
    assert "version 99" in caplog.text
    assert same(again, made(world, None))


def test_answers_that_were_changed_or_torn_are_asked_for_again(world, tmp_path, caplog):
    first = made(world, tmp_path)
    for path in files(tmp_path, "shadow-2.answers.safetensors"):
        tensors, meta = load_tensors(path)
        save_tensors(path, tensors | {"scores": tensors["scores"] + 1}, meta)
    for path in files(tmp_path, "shadow-3.answers.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING, "expunge"):
        assert same(first, made(world, tmp_path))
    assert (len(world.fit.seen), len(world.forgotten)) == (4, 4 + 2)
    assert "was changed" in caplog.text


def test_a_purge_leaves_nothing_of_shadows_that_knew_the_person(world, tmp_path):
    made(world, tmp_path, retrained=1, mirror=True)
    everything = [path for path in tmp_path.glob("*/*") if path.is_file()]
    removed = purge(torch.tensor(world.gone[:1]), data_digest(world.train), tmp_path)
    assert sorted(removed) == sorted(everything)
    assert [path for path in tmp_path.glob("*/*") if path.is_file()] == []


def test_a_purge_of_another_training_set_leaves_them(world, tmp_path):
    made(world, tmp_path)
    assert purge(torch.tensor(world.gone), data_digest(world.test), tmp_path) == []
    made(world, tmp_path)
    assert len(world.fit.seen) == 4


def test_shadows_lie_beside_references_without_harm(world, tmp_path):
    outcome = world.outcome(method=world.drop())
    retrain(outcome.split, world.recipe, task=world.task, seeds=1, cache=tmp_path)
    made(world, tmp_path)
    retrain(outcome.split, world.recipe, task=world.task, seeds=1, cache=tmp_path)
    assert len(world.fit.seen) == 1 + 4


def test_stacks_and_loops_make_the_same_shadows(world):
    recipe = Recipe(partial(mlp, inputs=5, width=8, classes=3), Fit(epochs=2, batch=16))
    one, other = (
        shadow_of(world.outcome(method=world.drop()), recipe, count=4, way=way)
        for way in ("vmap", "loop")
    )
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-4)
    assert torch.equal(one.trained, other.trained)


def test_a_shadow_that_answers_nothing_finite_ends_the_call(world, tmp_path):
    with pytest.raises(Diverged, match="not finite"):
        made(world, tmp_path, by=world.drop(by=1e39))
    assert [path for path in tmp_path.glob("*/*.partial") if Path(path).is_file()] == []


def test_chance_is_given_back_and_progress_is_told(world):
    outcome, heard = world.outcome(method=world.drop()), []
    before = torch.get_rng_state()
    heed = heard.append
    shadow_of(outcome, world.recipe, count=4, way="loop", progress=lambda *told: heed(told))
    assert torch.equal(before, torch.get_rng_state())
    assert heard[-1] == ("unlearn shadow models", 4, 4)
    assert ("train shadow models", 4, 4) in heard


def test_regressions_have_shadows_too(world):
    train, test = (
        TensorDataset(part.tensors[0], part.tensors[0][:, 0]) for part in (world.train, world.test)
    )
    parts = split(train, Request(Samples(world.gone)), test=test)
    recipe = Recipe(partial(nn.Linear, 5, 1), Fit(epochs=1, task=Regression(), lr=0.01))
    outcome = Outcome(nn.Linear(5, 1), nn.Linear(5, 1), parts, Regression())
    shadows = shadow_of(outcome, recipe, count=2, way="loop")
    assert shadows.pool.kind == "regression"
    assert (shadows.scores <= 0).all()
    assert int(shadows.comes.sum()) == 2 * len(world.gone)
