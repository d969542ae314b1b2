"""Gaps between groups, against loops over their definitions."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.fairness import Fairness
from expunge.observing import Observation, Snapshot

N, C, K = 700, 3, 2
TASK = Classification(attributes={"sign": lambda batch: batch[2]})


def world(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return (torch.randint(many, (N,), generator=draw) for many in (C, K))


def answers(y, z, bias, seed=1):
    draw = torch.Generator().manual_seed(seed)
    told = torch.randn(N, C, generator=draw)
    told[torch.arange(N), y] += 1
    told[:, -1] += bias * z
    return told


def snapshot(y, logits, order=None):
    order = torch.arange(N) if order is None else order
    seen = Observation(order, logits[order], y[order])
    return Snapshot(seen.only(seen.ids < 0), seen, seen)


def trial(before, after, z, y, target=None, references=()):
    test = TensorDataset(torch.zeros(N, 2), y, z)
    parts = split(test, Request(target or Attribute("sign")), test=test)
    model = nn.Linear(2, C)
    members = [Reference(lambda: model, s, k, 1.0, "") for k, s in enumerate(references)]
    return Trial(
        Outcome.of(model, model, parts, task=TASK),
        before,
        after,
        References(tuple(members)) if members else None,
    )


def measured(found, **settings):
    return {m.name: m for m in Fairness(**settings).measure(found)}


def test_gaps_and_the_worst_group_are_those_of_their_definitions():
    y, z = world()
    before, after = answers(y, z, 2.0), answers(y, z, 0.5)
    found = measured(trial(snapshot(y, before), snapshot(y, after), z, y))
    for logits, read in ((after, lambda m: m.value), (before, lambda m: m.original.value)):
        told = logits.argmax(1)

        def share(of, inside, told=told):
            return (told[inside] == of).double().mean().item()

        parity = max(abs(share(c, z == 0) - share(c, z == 1)) for c in range(C))
        odds = max(
            abs(share(c, (z == 0) & (y == t)) - share(c, (z == 1) & (y == t)))
            for c, t in product(range(C), range(C))
        )
        worst = min((told == y)[z == k].double().mean().item() for k in range(K))
        assert read(found["demographic parity gap, sign"]) == pytest.approx(parity)
        assert read(found["equalised odds gap, sign"]) == pytest.approx(odds)
        assert read(found["worst-group accuracy, sign"]) == pytest.approx(worst)


def test_the_smallest_cell_is_that_of_a_class_and_a_group():
    y, z = world()
    one = snapshot(y, answers(y, z, 0.0))
    found = measured(trial(one, one, z, y))["smallest cell, sign"]
    sizes = {(c, k): int(((y == c) & (z == k)).sum()) for c in range(C) for k in range(K)}
    label, group = min(sizes, key=sizes.get)
    assert found.value == sizes[label, group]
    assert found.note == f"group {group} of class {label}"


def test_every_group_stands_in_a_table_by_its_own_number():
    y, z = world()
    before, after = (snapshot(y, answers(y, z, bias)) for bias in (2.0, 0.0))
    columns = measured(trial(before, after, 3 + 4 * z, y))[
        "worst-group accuracy, sign"
    ].exhibit.columns
    assert columns["group"] == ["3", "7"]
    assert columns["samples"] == z.bincount().tolist()
    told = after.test.correct
    assert columns["unlearned"] == pytest.approx([told[z == k].mean().item() for k in range(K)])
    assert columns["original"] != columns["unlearned"]


def test_the_order_of_the_samples_does_not_matter():
    y, z = world()
    before, after = answers(y, z, 2.0), answers(y, z, 0.5)
    mixed = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    plain = trial(snapshot(y, before), snapshot(y, after), z, y)
    other = trial(snapshot(y, before, mixed), snapshot(y, after, mixed.flip(0)), z, y)
    assert measured(plain) == measured(other)


def test_people_whose_group_is_unknown_have_no_part():
    y, z = world()
    z[:200] = -1
    one = snapshot(y, answers(y, z.clamp_min(0), 1.0))
    found = measured(trial(one, one, z, y))
    told = one.test.logits.argmax(1)
    shares = [[(told[z == k] == c).double().mean().item() for k in range(K)] for c in range(C)]
    assert found["demographic parity gap, sign"].value == pytest.approx(
        max(abs(a - b) for a, b in shares)
    )
    assert found["demographic parity gap, sign"].n == N - 200


def test_where_groups_are_too_small_the_numbers_are_insufficient():
    y, z = world()
    one = snapshot(y, answers(y, z, 1.0))
    found = measured(trial(one, one, z, y), least=400)
    for name in ("demographic parity gap", "equalised odds gap", "worst-group accuracy"):
        assert found[f"{name}, sign"].value is None
        assert found[f"{name}, sign"].status == "insufficient"
        assert "400 test samples" in found[f"{name}, sign"].note
    assert found["smallest cell, sign"].value > 0


def test_rates_on_few_samples_are_left_out_and_counted():
    y, z = world()
    rare = torch.where(torch.arange(N) < 9, K, z)
    one = snapshot(y, answers(y, z, 1.0))
    assert "left out" in measured(trial(one, one, rare, y))["worst-group accuracy, sign"].note
    assert "left out" not in measured(trial(one, one, z, y))["worst-group accuracy, sign"].note


def test_an_attribute_that_nobody_knows_leaves_nothing_to_compare():
    y, z = world()
    one = snapshot(y, answers(y, z, 1.0))
    found = measured(trial(one, one, torch.full_like(z, -1), y))
    assert all(m.value is None for m in found.values())
    assert "known of no test sample" in found["smallest cell, sign"].note


def test_references_stand_beside():
    y, z = world()
    one, other = (snapshot(y, answers(y, z, bias)) for bias in (2.0, 0.3))
    found = measured(trial(one, one, z, y, references=[other, one]))["equalised odds gap, sign"]
    assert found.target[1] == found.value
    assert found.target[0] < found.value


def test_without_an_attribute_to_ask_about_nothing_is_measured():
    y, z = world()
    one = snapshot(y, answers(y, z, 1.0))
    with pytest.raises(MissingInput, match="no request names an attribute"):
        measured(trial(one, one, z, y, target=Samples((1,))))
