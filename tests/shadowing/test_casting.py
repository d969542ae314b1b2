"""Who is in: halves of a pool, every one of which might have been the request."""

import pytest
import torch

from expunge import Attribute, Classes, Request, Samples, split
from expunge.casting import cast_of
from expunge.errors import BadSetting, MissingInput, RequestDoesNotFit, TargetMismatch
from expunge.shadowing import shadow, shadow_of


def labels_of(world, ids):
    """Labels of samples by their place among training and test samples together."""
    return torch.cat([world.train.tensors[1], world.test.tensors[1]])[ids]


def test_a_shadow_is_trained_on_what_stays_and_half_of_the_pool_and_forgets_that_half(world):
    shadows = shadow_of(world.outcome(method=world.drop()), world.recipe, count=4, way="loop")
    size = len(world.train)
    pool = {*world.gone} | {size + int(i) for i in shadows.pool.test_ids[shadows.comes[6:]]}
    assert len(pool) == 2 * len(world.gone)
    for trained, (forget, retain, targets), seen in zip(
        shadows.trained, world.forgotten, world.fit.seen, strict=True
    ):
        places = torch.cat([shadows.pool.train_ids, shadows.pool.test_ids + size])
        half = {*places[trained].tolist()}
        assert len(half) == len(world.gone)
        assert half < pool
        assert {*forget.indices.tolist()} == half == {*targets[0].indices}
        assert {*retain.indices.tolist()} == {*range(size)} - {*world.gone}
        assert {*seen} == half | {*retain.indices.tolist()}


def test_every_second_shadow_takes_what_the_first_left_over(world):
    shadows = shadow_of(world.outcome(), world.recipe, count=6, way="loop")
    first, second = shadows.trained[::2], shadows.trained[1::2]
    assert torch.equal(first ^ second, shadows.comes.expand_as(first))
    assert len({tuple(row.tolist()) for row in shadows.trained}) == 6


def test_held_out_samples_are_as_many_of_each_class_as_forgotten_ones(world):
    cast = cast_of(world.outcome().split, world.task)
    came = cast.asked[cast.coming]
    gone, held = came[came < len(world.train)], came[came >= len(world.train)]
    assert labels_of(world, gone).bincount().tolist() == labels_of(world, held).bincount().tolist()
    assert gone.tolist() == sorted(world.gone)


def test_a_request_is_as_large_as_the_real_one_where_too_few_were_held_out(world):
    few = torch.utils.data.TensorDataset(*(t[:4] for t in world.test.tensors))
    shadows = shadow_of(world.outcome(test=few, method=world.drop()), world.recipe, way="loop")
    sizes = {len(forget) for forget, _, _ in world.forgotten}
    assert sizes == {len(world.gone)}
    assert 0 < len(shadows.pool.train_ids) < len(world.gone)
    always = {*world.gone} - {*shadows.pool.train_ids.tolist()}
    assert all(always <= {*forget.indices.tolist()} for forget, _, _ in world.forgotten)


def test_a_class_is_forgotten_as_a_class(world):
    outcome = world.outcome(Request(Classes((1,))), method=world.drop())
    shadow_of(outcome, world.recipe, count=2, way="loop")
    for forget, retain, targets in world.forgotten:
        assert targets == (Classes((1,)),)
        assert {*labels_of(world, forget.indices).tolist()} == {1}
        assert 1 not in labels_of(world, retain.indices)
        assert len(forget) == len(outcome.split.forget)


def test_the_mirror_forgets_exactly_the_held_out_and_retrained_ones_saw_nobody(world):
    outcome = world.outcome(method=world.drop())
    shadows = shadow_of(outcome, world.recipe, count=2, retrained=3, mirror=True, way="loop")
    asked = len(shadows.pool.train_ids)
    assert not shadows.mirror.trained[:asked].any()
    assert torch.equal(shadows.mirror.trained[asked:], shadows.comes[asked:])
    assert world.forgotten[-1][0].indices.min() >= len(world.train)
    assert not any(each.trained.any() for each in shadows.retrained)
    retained = sorted({*range(len(world.train))} - {*world.gone})
    assert world.fit.seen[2:5] == [retained] * 3
    assert torch.equal(shadows.retrained[0].scores, shadows.retrained[0].original)


def test_part_of_a_training_set_may_come_and_go_beside_some_that_no_model_sees(world):
    pool = (4, 9, 1, 30, 22)
    shadows = shadow(
        world.recipe,
        world.train,
        task=world.task,
        pool=pool,
        unseen=world.test,
        count=2,
        way="loop",
    )
    assert shadows.pool.train_ids.tolist() == sorted(pool)
    assert shadows.trained.sum(1).tolist() == [2, 3]
    assert not shadows.trained[:, len(pool) :].any()
    assert len(shadows.pool.test_ids) == len(world.test)
    others = {*range(len(world.train))} - {*pool}
    assert all(others < {*seen} for seen in world.fit.seen)
    assert not shadows.forgotten.any()


def test_without_pairs_every_shadow_draws_by_itself(world):
    found = shadow(world.recipe, world.train, task=world.task, count=3, pairs=False, way="loop")
    assert found.trained.sum(1).tolist() == [len(world.train) // 2] * 3
    assert not torch.equal(found.trained[0], ~found.trained[1])


def test_a_pool_that_is_forgotten_leaves_somebody_to_be_retained(world):
    with pytest.raises(MissingInput, match="0 stay"):
        shadow(world.recipe, world.train, task=world.task, method=world.drop())
    with pytest.raises(MissingInput, match="1 samples come and go"):
        shadow(world.recipe, world.train, task=world.task, pool=(3,))


@pytest.mark.parametrize("pool", [(1, 1), (0, 61), (-1, 3)])
def test_a_pool_names_samples_of_the_training_set_once(world, pool):
    with pytest.raises(RequestDoesNotFit, match="0 to 60"):
        shadow(world.recipe, world.train, task=world.task, pool=pool)


@pytest.mark.parametrize("count", [0, 3])
def test_shadows_come_in_pairs(world, count):
    with pytest.raises(BadSetting, match="pairs"):
        shadow_of(world.outcome(), world.recipe, count=count)


def test_one_forgotten_sample_or_none_makes_no_pool(world):
    with pytest.raises(TargetMismatch, match="1 left"):
        shadow_of(world.outcome(Request(Samples((3,)))), world.recipe)
    with pytest.raises(TargetMismatch, match="0 left"):
        shadow_of(world.outcome(Request(Attribute("hat"))), world.recipe)


def test_classes_beside_samples_are_refused(world):
    requests = Request(Samples((0, 3)), id="a"), Request(Classes((1,)), id="b")
    with pytest.raises(TargetMismatch, match="both"):
        shadow_of(world.outcome(*requests), world.recipe)


def test_a_class_that_was_never_held_out_makes_no_pool(world):
    x, y = world.test.tensors
    without = torch.utils.data.TensorDataset(x[y != 1], y[y != 1])
    parts = split(world.train, Request(Classes((1,))), test=without)
    with pytest.raises(MissingInput, match="of their class"):
        cast_of(parts, world.task)
