"""Where forgotten samples go, in shares and in bits that can be counted by hand."""

from collections import defaultdict
from math import log2

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.forget_flow import ForgetFlow
from expunge.observing import Observation, Snapshot


def snapshot(said, labels=None, classes=4, removed=(3,)):
    """A model that gives its forgotten samples these classes."""
    said = torch.tensor(said)
    labels = torch.full_like(said, 3) if labels is None else torch.tensor(labels)
    forget = Observation(torch.arange(len(said)), F.one_hot(said, classes).float(), labels)
    return Snapshot(forget, forget, forget, removed)


def measured(before, after, references=(), target=None):
    data = TensorDataset(torch.zeros(8, 2), torch.arange(8) % 4)
    model = nn.Linear(2, 4)
    parts = split(data, Request(target or Classes((3,))), test=data)
    outcome = Outcome.of(model, model, parts, task=Classification())
    members = [Reference(lambda: model, s, k, 1.0, "") for k, s in enumerate(references)]
    trial = Trial(outcome, before, after, References(tuple(members)) if members else None)
    (found,) = ForgetFlow().measure(trial)
    return found


def table(exhibit):
    rows = defaultdict(dict)
    columns = exhibit.columns
    for place, name, share in zip(columns["predicted class"], columns[exhibit.y], columns["share"],
                                  strict=True):  # fmt: skip
        rows[name][place] = share
    return dict(rows)


ALL_LEFT, ALL_RIGHT, HALF = [0] * 6, [1] * 6, [0, 1] * 3


def test_divergence_is_that_of_shares_in_bits():
    theirs = [snapshot(ALL_LEFT), snapshot(ALL_RIGHT)]  # their mean is half and half
    found = measured(snapshot([3] * 6), snapshot(ALL_LEFT), theirs)
    by_hand = (log2(1 / 0.75) + 0.5 * log2(0.5 / 0.75) + 0.5 * log2(0.5 / 0.25)) / 2
    assert found.value == pytest.approx(by_hand)
    assert found.original.value == pytest.approx(1)  # nothing is shared
    assert found.target == pytest.approx((1, 1))  # each against the other
    assert found.interval[0] <= found.value <= found.interval[1]


def test_equal_shares_have_no_divergence_whoever_is_in_them():
    theirs = [snapshot(HALF), snapshot(HALF[::-1])]
    found = measured(snapshot([3] * 6), snapshot(HALF[::-1]), theirs)
    assert found.value == 0
    assert found.target == (0, 0)


def test_more_samples_make_a_narrower_interval():
    def width(times):
        theirs = [snapshot(HALF * times)]
        found = measured(snapshot([3] * 6), snapshot([0, 0, 1] * 2 * times), theirs)
        return found.interval[1] - found.interval[0]

    assert width(50) < width(2)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    p = torch.tensor([0.4, 0.3, 0.2, 0.1])
    theirs = [snapshot([0, 1, 2, 3])]
    middle = (p + 0.25) / 2
    truth = ((p * (p / middle).log2()).sum() + (0.25 * (0.25 / middle).log2()).sum()) / 2
    inside = 0
    for _ in range(200):
        drawn = torch.multinomial(p, 300, replacement=True, generator=generator).tolist()
        low, high = measured(snapshot([3]), snapshot(drawn), theirs).interval
        inside += low <= truth <= high
    assert 0.9 <= inside / 200 <= 0.99


def test_the_picture_holds_the_share_sent_to_each_class():
    theirs = [snapshot(ALL_LEFT), snapshot(HALF)]
    rows = table(measured(snapshot([3] * 6), snapshot([0, 0, 0, 1, 1, 1]), theirs).exhibit)
    assert rows["original"] == {"0": 0, "1": 0, "3": 1}  # nobody is sent to 2
    assert rows["unlearned"] == pytest.approx({"0": 0.5, "1": 0.5, "3": 0})
    assert rows["retrained"] == pytest.approx({"0": 0.75, "1": 0.25, "3": 0})


def test_without_references_there_is_a_picture_but_no_number():
    found = measured(snapshot([3] * 6), snapshot(HALF))
    assert found.value is None
    assert "no reference" in found.note
    assert set(table(found.exhibit)) == {"original", "unlearned"}


def test_of_several_classes_each_has_its_rows():
    labels, removed = [2, 2, 3, 3, 3], (2, 3)
    before = snapshot(labels, labels, removed=removed)
    after = snapshot([0, 1, 1, 1, 1], labels, removed=removed)
    rows = table(measured(before, after, target=Classes((2, 3))).exhibit)
    assert rows["class 2, unlearned"] == pytest.approx({"0": 0.5, "1": 0.5, "2": 0, "3": 0})
    assert rows["class 3, unlearned"] == pytest.approx({"0": 0, "1": 1, "2": 0, "3": 0})
    assert rows["class 3, original"]["3"] == 1


def test_many_classes_are_cut_to_the_most_frequent_and_the_rest():
    said = [k for k in range(30) for _ in range(k + 1)]
    both = snapshot(said, [0] * len(said), classes=40, removed=())
    rows = table(measured(both, both, target=Samples((1,))).exhibit)
    assert list(rows["unlearned"]) == [*(str(k) for k in range(10, 30)), "other"]
    assert sum(rows["unlearned"].values()) == pytest.approx(1)
    assert rows["unlearned"]["other"] == pytest.approx(55 / 465)


def test_when_nobody_left_nobody_went_anywhere():
    some = snapshot(HALF)
    empty = Snapshot(some.forget.only(some.forget.ids < 0), some.retain, some.test)
    with pytest.raises(MissingInput, match="nobody left"):
        measured(empty, empty)
