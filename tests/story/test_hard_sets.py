"""Who leaves where it is hard to leave: known by heart, alike, wrongly labelled, or copied."""

from dataclasses import replace

import pytest
import torch

from expunge.problems.digits import digits

COUNT = 20

pytestmark = pytest.mark.usefixtures("scripts")


def asked(kind, problem, seed=0):
    """The changed problem, and its split."""
    from table import Cell  # noqa: PLC0415

    cell = Cell("hard", "digits", {"epochs": 4}, {"hard": kind, "count": COUNT}, (seed,), ())
    changed = cell.posed(None, seed) if problem is None else problem
    return changed, cell.split(changed, seed)


def rows(part):
    x, _ = part.source.tensors
    return {tuple(row) for row in x[part.indices].tolist()}


def test_who_is_mislabelled_leaves_and_all_others_keep_their_labels():
    changed, parts = asked("mislabelled", None)
    true = {tuple(x.tolist()): int(y) for x, y in digits().train}
    x, y = changed.train.tensors
    wrong = [true[tuple(a.tolist())] != int(b) for a, b in zip(x, y, strict=True)]
    assert [k for k, is_wrong in enumerate(wrong) if is_wrong] == parts.forget.indices.tolist()
    assert sum(wrong) == COUNT


def test_one_alone_can_be_mislabelled():
    from hardness import changed  # noqa: PLC0415

    problem = digits()
    one = changed("mislabelled", problem, 1, 0)
    assert len(one.train) == len(problem.train)
    x, y = one.train.tensors
    true = {tuple(a.tolist()): int(b) for a, b in problem.train}
    assert true[tuple(x[0].tolist())] != int(y[0])


def test_copies_stay_or_leave_as_they_are_told():
    _, stays = asked("copied", None)
    assert len(stays.forget) == COUNT
    assert rows(stays.forget) <= rows(stays.retain)
    _, leaves = asked("with copies", None)
    assert len(leaves.forget) == 2 * COUNT
    assert len(rows(leaves.forget)) == COUNT
    assert not rows(leaves.forget) & rows(leaves.retain)


def test_neighbours_are_of_fewer_classes_than_who_is_drawn():
    problem, parts = asked("clustered", None)
    labels = problem.train.tensors[1]
    assert len(labels[parts.forget.indices].unique()) <= 4
    assert len(labels[torch.randperm(len(labels))[:COUNT]].unique()) > 4


def test_shadow_models_find_who_is_known_by_heart(monkeypatch):
    import hardness  # noqa: PLC0415

    monkeypatch.setattr(hardness, "_MODELS", 8)
    problem, planted = asked("mislabelled", None)
    longer = replace(problem.recipe, fit=replace(problem.recipe.fit, epochs=30))
    _, found = asked("memorised", replace(problem, recipe=longer))
    both = set(found.forget.indices.tolist()) & set(planted.forget.indices.tolist())
    assert len(both) >= COUNT // 2


def test_another_seed_is_another_draw():
    one, other = (asked("mislabelled", None, seed)[1] for seed in (0, 1))
    assert rows(one.forget) != rows(other.forget)
