"""Which samples an attack may compare: matched by class, whatever the order."""

from collections import Counter

import pytest
import torch

from expunge.attack import exchangeable
from expunge.errors import MissingInput
from expunge.observing import Observation, Snapshot


def seen(labels, ids=None, kind="classification"):
    labels = torch.as_tensor(labels)
    ids = torch.arange(len(labels)) if ids is None else ids
    return Observation(ids, torch.zeros(len(labels), 5), labels, kind)


def counts(wanted, available):
    def spread(numbers):
        return [k for k, count in enumerate(numbers) for _ in range(count)]

    snapshot = Snapshot(seen(spread(wanted)), seen([0]), seen(spread(available)))
    _, chosen = exchangeable(snapshot)
    found = Counter(chosen.labels.tolist())
    return [found[k] for k in range(len(wanted))]


def test_a_forgotten_class_is_compared_with_its_own_class_alone():
    assert counts([0, 0, 9, 0], [50, 40, 30, 20]) == [0, 0, 30, 0]


def test_proportions_are_those_of_the_forget_set():
    assert counts([3, 1, 2, 0], [30, 30, 30, 30]) == [30, 10, 20, 0]


def test_the_scarcest_class_decides_how_many_are_taken():
    assert counts([10, 10], [5, 400]) == [5, 5]


def test_a_forget_set_that_outnumbers_the_test_set_is_matched_too():
    assert counts([200, 100], [30, 90]) == [30, 15]


def test_the_whole_of_the_scarcest_class_is_used_whatever_the_numbers():
    for available in range(1, 60):
        for wanted in range(1, 60):
            assert counts([wanted], [available]) == [available]


def test_no_class_is_off_by_a_sample_and_none_is_overdrawn():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        wanted = torch.randint(1, 40, (5,), generator=generator).tolist()
        available = torch.randint(40, 200, (5,), generator=generator).tolist()
        times = min(a / w for a, w in zip(available, wanted, strict=True))
        found = counts(wanted, available)
        assert all(f <= a for f, a in zip(found, available, strict=True))
        assert all(abs(f - times * w) < 1 + 1e-9 for f, w in zip(found, wanted, strict=True))


def test_neither_the_order_of_the_test_set_nor_that_of_the_forget_set_matters():
    labels = torch.arange(60) % 4
    forget = [0, 0, 1, 3]
    _, plain = exchangeable(Snapshot(seen(forget), seen([0]), seen(labels)))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    _, mixed = exchangeable(Snapshot(seen(forget[::-1]), seen([0]), seen(labels[order], ids=order)))
    assert plain.ids.tolist() == mixed.ids.tolist()


def test_nobody_is_taken_twice():
    _, chosen = exchangeable(Snapshot(seen([0] * 9 + [1]), seen([0]), seen(torch.arange(80) % 2)))
    assert len(set(chosen.ids.tolist())) == len(chosen)


def test_the_draw_is_not_simply_the_first_samples():
    _, chosen = exchangeable(Snapshot(seen([0, 1]), seen([0]), seen([0] * 10 + [1] * 90)))
    ones = [i for i in chosen.ids.tolist() if i >= 10]
    assert ones != list(range(10, 20))


def test_a_forgotten_class_that_the_test_set_lacks_is_named():
    with pytest.raises(MissingInput, match="no sample of class"):
        exchangeable(Snapshot(seen([4, 4, 1]), seen([0]), seen([0, 1, 2])))


def test_without_a_forget_set_there_is_nobody_to_look_for():
    with pytest.raises(MissingInput, match="nobody left"):
        exchangeable(Snapshot(seen([]), seen([0]), seen([0, 1])))


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_tasks_without_classes_are_compared_with_the_whole_test_set(kind):
    labels = torch.zeros(4, 5)
    test = Observation(torch.arange(4), torch.zeros(4, 5), labels, kind)
    forget = Observation(torch.arange(2), torch.zeros(2, 5), labels[:2], kind)
    member, nonmember = exchangeable(Snapshot(forget, test, test))
    assert (len(member), len(nonmember)) == (2, 4)
