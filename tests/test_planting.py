"""Canaries: wrong labels are wrong, and what is set aside is gone from the rest."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from expunge.batching import Batches, is_resident
from expunge.errors import BadSetting
from expunge.planting import (
    MISLABELLED,
    NATURAL,
    Canaries,
    Relabelled,
    joined,
    mislabelled,
    set_aside,
    taken,
)
from expunge.problems.images import Images
from expunge.problems.texts import Sentences
from expunge.splitting import Part, labels_of
from expunge.spreading import sendable
from expunge.twins import leaves


def rows(n=37, classes=4):
    return TensorDataset(torch.arange(n * 2).view(n, 2).float(), torch.arange(n) % classes)


def pictures(n=11):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, 3, 5, 4), generator=drawn, dtype=torch.uint8)
    return Images(x, torch.arange(n) % 3, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))


class Listed(Dataset):
    """Samples that lie in no tensor; labels are plain numbers."""

    def __init__(self, n=13):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if index >= self.n:
            raise IndexError
        return torch.full((2,), float(index)), index % 3


@pytest.mark.parametrize("data", [rows(), pictures(), Listed(), Part(rows(), torch.arange(5, 20))])
def test_a_wrong_label_is_never_the_own_one_and_nothing_else_changes(data):
    wrong = mislabelled(data, seed=3)
    assert len(wrong) == len(data)
    old, new = labels_of(data), torch.tensor([int(wrong[i][1]) for i in range(len(data))])
    assert not (old == new).any()
    assert set(new.tolist()) <= set(old.tolist())
    for i in range(len(data)):
        assert torch.equal(data[i][0], wrong[i][0])
        assert type(wrong[i][1]) is type(data[i][1])


def test_labels_that_are_no_longer_there_can_be_drawn():
    alone = taken(rows(), torch.tensor([0, 4, 8]))  # all of class 0
    with pytest.raises(BadSetting, match="one class"):
        mislabelled(alone, 1)
    assert 0 not in labels_of(mislabelled(alone, 1, torch.tensor([0, 1, 5])))


def test_a_label_may_be_any_number():
    odd = TensorDataset(torch.zeros(30, 1), torch.tensor([7, 100, -3]).repeat(10))
    assert set(labels_of(mislabelled(odd, 0)).tolist()) == {7, 100, -3}


@pytest.mark.parametrize("data", [rows(), pictures(), Listed()])
def test_what_is_set_aside_is_gone_from_the_rest(data):
    base, canaries = set_aside(data, 5, seed=2)
    assert len(base) == len(data) - 5
    assert {name: len(rows) for name, rows in canaries.arms.items()} == {NATURAL: 3, MISLABELLED: 2}
    kept = {tuple(base[i][0].flatten().tolist()) for i in range(len(base))}
    gone = {tuple(canaries.data[i][0].flatten().tolist()) for i in range(5)}
    assert not kept & gone
    assert len(kept | gone) == len(data)


def test_the_seed_chooses_who_is_set_aside():
    chosen = [set_aside(rows(), 6, seed)[1].data.tensors[0] for seed in (0, 0, 1)]
    assert torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])


def test_rows_that_were_taken_cannot_reach_the_others():
    part = taken(pictures(), torch.tensor([2, 7]))
    assert [len(x) for x in part.tensors] == [2, 2]
    batch = Batches(Part.whole(part)).take(torch.tensor([1]))
    assert torch.equal(batch[0][0], pictures()[7][0])


@pytest.mark.parametrize("make", [rows, pictures, Listed])
def test_joined_data_stand_one_after_the_other(make):
    first, second = make(), mislabelled(make(), 1)
    both = joined(first, second)
    assert len(both) == 2 * len(first)
    assert torch.equal(both[len(first) + 2][0], second[2][0])
    assert int(both[len(first) + 2][1]) == int(second[2][1])
    x, y = Batches(Part.whole(both)).take(torch.tensor([1, len(first) + 1]))
    assert torch.equal(x[0], x[1])
    assert y[0] != y[1]


def sentences(n=9):
    return Sentences(torch.arange(4 * n, dtype=torch.int32).view(n, 4), torch.arange(n) % 3)


@pytest.mark.parametrize("make", [rows, pictures, sentences])
def test_what_lies_in_memory_does_so_when_it_is_joined(make):
    parts = make(11), make(7)
    both = joined(*parts)
    assert is_resident(both), "samples would be read one by one"
    for part, place in ((0, 5), (1, 3)):
        one, other = leaves(both[part * 11 + place]), leaves(parts[part][place])
        assert len(one) == len(other)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert sendable(both)


def test_pictures_that_are_normalised_otherwise_are_not_taken_for_the_same():
    own = pictures()
    other = replace(own, mean=(0.1, 0.1, 0.1))
    both = joined(own, other)
    assert torch.equal(both[11 + 4][0], other[4][0])
    assert not torch.equal(both[11 + 4][0], both[4][0])


def test_data_of_two_kinds_are_joined_too():
    both = joined(rows(6), Listed(4))
    assert len(both) == 10
    assert float(both[7][0][0]) == 1.0


def test_a_view_under_other_labels_keeps_what_else_a_sample_has():
    more = Relabelled([(1.0, 2, "glasses")], torch.tensor([5]))
    assert more[0] == (1.0, 5, "glasses")


def test_impossible_numbers_are_refused():
    for count in (0, 37, 99):
        with pytest.raises(BadSetting):
            set_aside(rows(), count, 0)
    with pytest.raises(BadSetting, match="empty"):
        Canaries.of({"nobody": TensorDataset(torch.zeros(0, 1))})
