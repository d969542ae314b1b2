"""Who is learnt from and who is scored: nobody is both, and no subject straddles."""

import pytest
import torch
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, MultiLabel, Regression, Request, Samples, split
from expunge.errors import BatchUnreadable, MissingInput
from expunge.reserving import dealt, grouped, groups_of, reserve, wanted
from expunge.splitting import Part

TRAIN, ASIDE, TEST = 7, 60, 340


def data(n, seed, labels=None):
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=draw) if labels is None else labels(n)
    z = torch.randint(2, (n,), generator=draw)
    return TensorDataset(torch.randn(n, 4, generator=draw), y, z, torch.arange(n) // 5)


def task(of=Classification):
    columns = {"sign": 2, "who": 3}
    return of(attributes={name: lambda b, k=k: b[k] for name, k in columns.items()})


def parts(*, validation=None, labels=None, target=None):
    request = Request(target or Attribute("sign"))
    aside = None if validation is None else data(validation, 1, labels)
    return split(data(TRAIN, 0, labels), request, test=data(TEST, 2, labels), validation=aside)


def held(subjects="", validation=ASIDE):
    return reserve(parts(validation=validation), task(), ["sign"], subjects)


@pytest.mark.parametrize("subjects", ["", "who"])
def test_everybody_goes_one_way(subjects):
    found = held(subjects)
    rows = torch.cat(found.ways("sign"))
    assert torch.equal(rows.sort().values, torch.arange(ASIDE + TEST))


def test_validation_samples_are_learnt_from_and_never_scored():
    learn, choose, score = held().ways("sign")
    assert torch.isin(torch.arange(ASIDE), learn).all()
    assert (choose >= ASIDE).all()
    assert (score >= ASIDE).all()
    assert [len(choose), len(score)] == [TEST // 5, 2 * TEST // 5]


def test_with_many_validation_samples_more_of_the_test_set_is_scored():
    learn, choose, score = held(validation=150).ways("sign")
    assert [len(learn), len(choose), len(score)] == [150 + TEST // 5, TEST // 5, 3 * TEST // 5]
    learn, choose, score = held(validation=None).ways("sign")
    assert [len(learn), len(choose), len(score)] == [2 * TEST // 5, TEST // 5, 2 * TEST // 5]


def test_no_subject_is_learnt_from_and_scored():
    found = held("who")
    ways = [set(found.subjects[rows].tolist()) for rows in found.ways("sign")]
    assert not ways[0] & ways[1]
    assert not ways[0] & ways[2]
    assert not ways[1] & ways[2]
    aside = set(found.subjects[:ASIDE].tolist())  # the first subjects of the test set, too
    assert aside <= ways[0]


def test_every_group_of_every_class_goes_every_way():
    found = held(validation=None)
    cell = found.classes * 2 + found.attributes["sign"].of
    counts = [cell[rows].bincount(minlength=6) for rows in found.ways("sign")]
    for count, share in zip(counts, (0.4, 0.2, 0.4), strict=True):
        assert (count - share * cell.bincount()).abs().max() <= 2


def test_the_order_of_samples_does_not_decide_where_a_subject_goes():
    cell, whose = torch.arange(40) % 3, torch.arange(40) // 2
    aside, mixed = torch.arange(40) < 4, torch.randperm(40)
    way = dealt(cell, whose, aside)
    assert torch.equal(dealt(cell[mixed], whose[mixed], aside[mixed]), way[mixed])


def test_samples_whose_attribute_is_missing_go_nowhere():
    test = data(TEST, 2)
    test.tensors[2][:100] = -1
    found = reserve(split(data(7, 0), Request(Samples((1,))), test=test), task(), ["sign"])
    rows = torch.cat(found.ways("sign"))
    assert torch.equal(rows.sort().values, torch.arange(100, TEST))


@pytest.mark.parametrize(("value", "told"), [(1, "is the same for all"), (-1, "is known of none")])
def test_an_attribute_without_two_groups_cannot_be_asked_about(value, told):
    test = data(TEST, 2)
    test.tensors[2][:] = value
    found = reserve(split(data(7, 0), Request(Samples((1,))), test=test), task(), ["sign"])
    with pytest.raises(MissingInput, match=told):
        found.ways("sign")


def test_too_few_samples_are_named():
    found = reserve(split(data(7, 0), Request(Samples((1,))), test=data(20, 2)), task(), ["sign"])
    with pytest.raises(MissingInput, match="20 held-out samples"):
        found.ways("sign")


def test_an_attribute_of_another_shape_is_refused():
    class Wide(Classification):
        def attribute(self, batch, _name, /):
            return batch[0]

    with pytest.raises(BatchUnreadable, match=r"the shape \(340, 4\)"):
        reserve(parts(), Wide(), ["sign"])


def test_an_attribute_may_stand_in_a_column():
    class Column(Classification):
        def attribute(self, batch, _name, /):
            return batch[2][:, None]

    plain = held().attributes["sign"]
    assert torch.equal(reserve(parts(validation=ASIDE), Column(), ["sign"]).attributes["sign"].of,
                       plain.of)  # fmt: skip


def test_a_batch_holds_samples_of_both_parts_in_order():
    found = held()
    rows = torch.tensor([3, 59, 60, 300])
    x, y, *_ = found.take(rows, torch.device("cpu"), task())
    everything = torch.cat([batch[0] for batch in found.batches()])
    assert torch.equal(x, everything[rows])
    assert torch.equal(y, found.classes[rows])


def test_whole_numbers_are_groups_and_others_are_cut_into_quarters():
    found = grouped(torch.tensor([7, -1, 3, 7, 40]))
    assert found.of.tolist() == [1, -1, 0, 1, 2]
    assert found.words == ("3", "7", "40")
    assert grouped(torch.tensor([True, False])).of.tolist() == [1, 0]
    ages = torch.arange(80.0)
    ages[5] = torch.nan
    found = grouped(ages)
    assert found.of[5] == -1
    assert found.of[found.of >= 0].bincount().tolist() == [20, 19, 20, 20]
    assert found.words == ("below 20.5", "20.5 to 40", "40 to 59.5", "from 59.5")
    assert len(grouped(torch.full((3,), torch.nan))) == 0


def test_a_rare_yes_that_is_a_number_with_a_fraction_is_a_group():
    answers = torch.zeros(100)
    answers[:20], answers[50] = 1, torch.nan
    found = grouped(answers)
    assert found.words == ("below 1", "from 1")
    assert found.of[found.of >= 0].bincount().tolist() == [79, 20]
    assert torch.equal(found.of == 1, answers == 1)
    assert len(grouped(torch.full((9,), 0.5))) == 1


def test_what_is_known_of_several_labels_is_which_stand_together():
    rows = torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 1, 1], [1, 1, 1]])
    found = parts(labels=lambda n: rows[torch.arange(n) % 4])
    classes = reserve(found, task(MultiLabel), ["sign"]).classes[:4]
    assert classes[0] == classes[2]
    assert len(classes.unique()) == 3


def test_what_is_known_of_a_number_is_its_quarter():
    found = parts(labels=lambda n: torch.arange(n).float())
    classes = reserve(found, task(Regression), ["sign"]).classes
    assert classes.bincount().tolist() == [85] * 4


def test_a_label_that_is_a_number_is_kept_beside_its_quarter():
    found = parts(labels=lambda n: 1e9 + torch.arange(n, dtype=torch.double)[:, None])
    numbers = reserve(found, task(Regression), ["sign"]).numbers
    want = torch.arange(TEST, dtype=torch.double)[:, None]
    want = (want - want.mean()) / want.std(correction=0)
    torch.testing.assert_close(numbers, want.float())
    assert held().numbers is None  # a class says all of itself


def test_very_many_combinations_of_labels_become_few_classes():
    bits = 2 ** torch.arange(7)
    found = parts(labels=lambda n: ((torch.arange(n)[:, None] & bits) > 0).float())
    assert int(reserve(found, task(MultiLabel), ["sign"]).classes.max()) == 63


def test_the_attributes_asked_about_are_those_of_the_requests_unless_others_are_named():
    assert wanted((), parts()) == ("sign",)
    assert wanted(("who", "sign", "who"), parts()) == ("who", "sign")
    with pytest.raises(MissingInput, match="no request names an attribute"):
        wanted((), parts(target=Samples((1,))))


def test_the_groups_of_a_part_stand_in_its_order():
    test = data(TEST, 2)
    rows = torch.tensor([9, 4, 77])
    assert torch.equal(groups_of(Part(test, rows), task(), "sign").of, test.tensors[2][rows])
