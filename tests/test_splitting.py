"""Requests become two parts that share nothing, and nonsense is refused in words."""

import inspect

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from expunge import Attribute, Classes, Request, Samples, split
from expunge.errors import MissingInput, RequestDoesNotFit
from expunge.splitting import Part, _check_data, labels_of

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 2])  # 5 zeros, 3 ones, 3 twos
TRAIN = TensorDataset(torch.arange(33.0).reshape(11, 3), LABELS)
TEST = TensorDataset(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]))


class Rows(Dataset):
    """Any dataset; counts how often a sample is looked at."""

    def __init__(self, rows, **more):
        self.rows, self.visits = rows, 0
        vars(self).update(more)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.visits += 1
        return self.rows[index]


def forgotten(*targets, train=TRAIN, **more):
    made = split(train, *(Request(t) for t in targets), test=TEST, **more)
    return made.forget.indices.tolist()


def refused(fault, *targets, train=TRAIN, test=TEST, **more):
    with pytest.raises(fault) as caught:
        split(train, *(Request(t) for t in targets), test=test, **more)
    assert caught.value.fact
    assert caught.value.hint
    return caught.value


# What leaves


@pytest.mark.parametrize(
    "targets",
    [
        (Samples((3,)),),
        (Samples((10, 0, 4)),),
        (Classes((1,)),),
        (Classes((2, 0)),),
        (Attribute("x"),),
    ],
)
def test_forget_and_retain_divide_the_training_set(targets):
    made = split(TRAIN, *map(Request, targets), test=TEST)
    both = made.forget.indices.tolist() + made.retain.indices.tolist()
    assert sorted(both) == [*range(11)]


def test_named_samples_leave_in_the_order_of_the_data():
    assert forgotten(Samples((10, 0, 4))) == [0, 4, 10]


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, torch.tensor])
def test_samples_may_be_any_numbers_that_are_whole(kind):
    assert forgotten(_unchecked(Samples, [kind(i) for i in (10, 0, 4)])) == [0, 4, 10]


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_samples_may_come_as_an_array(kind):
    assert forgotten(_unchecked(Samples, kind([10, 0, 4]))) == [0, 4, 10]


def test_a_range_of_samples_leaves():
    assert forgotten(Samples(range(2, 9, 3))) == [2, 5, 8]


def test_every_sample_of_a_class_leaves():
    assert forgotten(Classes((1,))) == [1, 4, 7]
    assert forgotten(Classes((2, 1))) == [1, 2, 4, 5, 7, 10]


def test_of_an_attribute_nobody_leaves():
    made = split(TRAIN, Request(Attribute("glasses")), test=TEST)
    assert len(made.forget) == 0
    assert len(made.retain) == 11
    assert made.kind == "attribute"


def test_several_requests_leave_together_and_once():
    made = split(TRAIN, Request(Samples((1, 3))), Request(Classes((1,))), test=TEST)
    assert made.forget.indices.tolist() == [1, 3, 4, 7]
    assert made.kind == "mixed"
    assert made.removed == (1,)
    assert made.targets == (Samples((1, 3)), Classes((1,)))


def test_classes_of_several_requests_are_all_removed():
    made = split(TRAIN, Request(Classes((2,))), Request(Classes((1, 2))), test=TEST)
    assert made.removed == (1, 2)
    assert made.kind == "classes"


def test_test_and_validation_stay_whole_and_apart():
    made = split(TRAIN, Request(Samples((1,))), test=TEST, validation=TEST)
    assert len(made.test) == len(made.validation) == 4
    assert split(TRAIN, Request(Samples((1,))), test=TEST).validation is None


def test_a_part_gives_the_samples_of_its_source():
    part = Part(TRAIN, torch.tensor([7, 2]))
    x, y = part[0]
    assert x.tolist() == [21.0, 22.0, 23.0]
    assert y == 1
    assert len(part) == 2
    assert len(Part.whole(TRAIN)) == 11


# Where labels are found


def test_labels_in_tensors_or_targets_are_read_without_visiting_samples():
    rows = Rows([None] * 11, targets=LABELS.tolist())
    assert labels_of(rows).equal(LABELS)
    assert labels_of(Rows([None] * 11, targets=LABELS.numpy())).equal(LABELS)
    assert labels_of(Rows([None] * 11, targets=LABELS.to(torch.uint8))).equal(LABELS)
    assert rows.visits == 0
    assert labels_of(TRAIN).equal(LABELS)


def test_labels_of_parts_and_subsets_are_those_of_their_source():
    some = [9, 1, 4]
    for inside in (TRAIN, Rows([None] * 11, targets=LABELS)):
        assert labels_of(Subset(inside, some)).tolist() == LABELS[some].tolist()
        assert labels_of(Part(inside, torch.tensor(some))).tolist() == LABELS[some].tolist()
        assert labels_of(Subset(Subset(inside, some), [2])).tolist() == [1]


def test_a_class_leaves_a_subset_by_the_subsets_own_positions():
    made = split(Subset(TRAIN, [9, 1, 4]), Request(Classes((1,))), test=TEST)
    assert made.forget.indices.tolist() == [1, 2]
    assert made.forget[0][1] == 1


def test_labels_of_plain_samples_are_their_second_thing():
    rows = Rows([("x", int(y)) for y in LABELS])
    assert labels_of(rows).equal(LABELS)
    assert labels_of(Rows([["x", y] for y in LABELS])).equal(LABELS)


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS.tolist(), tuple(LABELS.tolist()), lambda sample: sample["y"]],
    ids=["tensor", "list", "tuple", "function"],
)
def test_labels_that_are_given_come_first(labels):
    rows = Rows([{"y": y} for y in LABELS], targets=[5] * 11)
    assert forgotten(Classes((1,)), train=rows, labels=labels) == [1, 4, 7]


def test_labels_are_only_asked_for_where_classes_are_named():
    rows = Rows([{"y": y} for y in LABELS])
    assert forgotten(Samples((2,)), train=rows) == [2]
    assert rows.visits == 0


# Nonsense


@pytest.mark.parametrize(
    ("target", "fact"),
    [
        (Samples(()), "names no sample"),
        (Samples(range(11)), "whole training set of 11"),
        (Samples((11,)), "1 of 1 indices lie outside the training set of 11"),
        (Samples((0, -1, 99)), "2 of 3 indices lie outside"),
        (Samples((4, 2, 4)), "sample 4 more than once"),
        (Classes(()), "names no sample"),
        (Classes((0, 1, 2)), "whole training set"),
        (Classes((1, 7)), "no training sample carries the label 7"),
        (Classes((-1,)), "no training sample carries the label -1"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(target, fact):
    assert fact in refused(RequestDoesNotFit, target).fact


@pytest.mark.parametrize("numbers", [(1.0,), ("3",), (None,), "12"])
@pytest.mark.parametrize("kind", [Samples, Classes])
def test_what_is_no_whole_number_is_refused(kind, numbers):
    assert "whole numbers" in refused(RequestDoesNotFit, _unchecked(kind, numbers)).fact


@pytest.mark.parametrize("made", [torch.tensor, np.array, tuple])
@pytest.mark.parametrize("kind", [Samples, Classes])
def test_a_mask_is_not_taken_for_the_samples_1_and_0(kind, made):
    fault = refused(RequestDoesNotFit, _unchecked(kind, made([True, False] + [False] * 9)))
    assert "true and false" in fault.fact
    assert "mask.nonzero().flatten()" in fault.hint


def _unchecked(kind, numbers):
    """A target as a caller without run-time type checks makes it."""
    target = object.__new__(kind)
    object.__setattr__(target, "indices" if kind is Samples else "labels", numbers)
    return target


def test_an_unknown_class_is_told_which_there_are():
    assert "[0, 1, 2]" in refused(RequestDoesNotFit, Classes((7,))).hint
    many = TensorDataset(torch.zeros(30, 1), torch.arange(30))
    assert "and more" in refused(RequestDoesNotFit, Classes((70,)), train=many).hint


def test_no_request_is_refused():
    assert "no request" in refused(MissingInput).fact


def test_empty_data_are_refused_by_name():
    empty = TensorDataset(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    assert "train has no samples" in refused(MissingInput, Samples((1,)), train=empty).fact
    assert "test has no samples" in refused(MissingInput, Samples((1,)), test=empty).fact


def test_data_that_cannot_be_read_by_position_are_refused():
    unchecked = inspect.unwrap(_check_data)  # a caller without run-time type checks
    with pytest.raises(MissingInput, match="train is a generator, which cannot be read") as caught:
        unchecked((row for row in TRAIN), TEST)
    assert "__getitem__" in caught.value.hint


class Streamed(IterableDataset):
    """Knows how many samples it gives, and gives them one after the other."""

    def __iter__(self):
        return iter(TRAIN)

    def __len__(self):
        return len(TRAIN)


@pytest.mark.parametrize("name", ["train", "test"])
def test_data_that_are_streamed_are_refused_even_where_they_know_their_length(name):
    fault = refused(MissingInput, Samples((1,)), **{name: Streamed()})
    assert f"{name} is a Streamed, which cannot be read by position" in fault.fact


def test_labels_of_another_length_are_refused():
    error = refused(RequestDoesNotFit, Classes((1,)), labels=[0, 1])
    assert "2 labels were given for 11" in error.fact


@pytest.mark.parametrize(
    "labels",
    [LABELS.double(), LABELS.reshape(11, 1), TRAIN.tensors[0]],
    ids=["float", "column", "rows"],
)
def test_labels_that_are_no_classes_are_refused(labels):
    assert (
        "one whole number a sample" in refused(RequestDoesNotFit, Classes((1,)), labels=labels).fact
    )


@pytest.mark.parametrize("words", [["cat"] * 11, [None] * 11, [[1], [2, 3]]])
def test_labels_that_are_no_numbers_are_refused(words):
    error = refused(RequestDoesNotFit, Classes((1,)), train=Rows([None] * 11, targets=words))
    assert "whole number" in error.fact


@pytest.mark.parametrize("rows", [[torch.zeros(3)] * 11, [("x",)] * 11, [{"x": 1, "y": 2}] * 11])
def test_samples_that_do_not_tell_their_labels_ask_for_them(rows):
    error = refused(MissingInput, Classes((1,)), train=Rows(rows))
    assert "do not tell their labels" in error.fact
    assert "labels=" in error.hint


def test_a_tensor_dataset_without_labels_asks_for_them():
    refused(MissingInput, Classes((1,)), train=TensorDataset(torch.zeros(11, 3)))


def test_two_requests_of_one_id_are_refused():
    data = TensorDataset(torch.randn(9, 2), torch.arange(9) % 3)
    asked = [Request(Samples((k,)), id="same") for k in (1, 2)]
    with pytest.raises(RequestDoesNotFit, match="two requests have the id 'same'"):
        split(data, *asked, test=data)


def test_a_target_that_nobody_asked_for_is_no_request():
    with pytest.raises(RequestDoesNotFit, match="is no request"):
        split(TRAIN, Classes((1,)), test=TEST)
