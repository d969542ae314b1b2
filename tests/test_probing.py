"""Questions about held-out samples, of which the answers are known."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Regression, Request, split
from expunge.algebra.families import linear, neighbours
from expunge.errors import MissingInput, UnknownName
from expunge.probing import Question, best, probe
from expunge.reserving import reserve

N, D, C = 480, 4, 3
TASK = Classification(attributes={"sign": lambda batch: batch[2]})


def held(x=None, z=None):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=draw) if x is None else x
    z = (x.flatten(1)[:, 0] > 0).long() if z is None else z
    test = TensorDataset(x, torch.arange(N) % C, z)
    parts = split(TensorDataset(x[:5], torch.arange(5) % C), Request(Attribute("sign")), test=test)
    return reserve(parts, TASK, ["sign"])


def everything(found):
    return torch.cat([batch[0] for batch in found.batches()])


def test_a_sign_that_is_an_input_is_read_in_full_and_a_permuted_one_not_at_all():
    found = held()
    question, x = Question.about(found, "sign"), everything(found)
    whole = probe(question, x, ["linear"], N)["linear"]
    nothing = probe(question.permuted, x, ["linear"], N)["linear"]
    assert whole.worth().value > 0.85
    assert whole.worth("AUC").value > 0.99
    assert whole.worth("accuracy gain").low > 0.3
    assert nothing.worth().low <= 0 <= nothing.worth().high
    assert best({"a": nothing, "b": whole}) is whole


def test_permuting_keeps_how_often_groups_go_with_classes_in_every_way():
    question = Question.about(held(), "sign")
    other = question.permuted
    assert not torch.equal(other.z, question.z)
    for rows in question.ways:
        for label in range(C):
            mine = rows[question.y[rows] == label]
            assert question.z[mine].sum() == other.z[mine].sum()


def test_who_does_not_know_the_label_is_told_it_by_features():
    y = torch.arange(N) % C
    found = held(z=(y > 0).long())
    question, x = Question.about(found, "sign"), F.one_hot(y, C).float()
    gain = probe(question.unaided, x, ["linear"], N)["linear"].worth()
    assert gain.value == pytest.approx(0.918, abs=0.05)  # H(1/3)
    beyond = probe(question, x, ["linear"], N)["linear"].worth()
    assert beyond.value == pytest.approx(0, abs=0.002)


def test_where_no_class_has_two_groups_nothing_can_be_ranked():
    y = torch.arange(N) % C
    question = Question.about(held(z=(y > 0).long()), "sign")
    with pytest.raises(MissingInput, match="two groups"):
        probe(question, torch.randn(N, 2), ["linear"], N)["linear"].worth("AUC")


@pytest.mark.parametrize("family", ["linear", "k-NN"])
def test_wide_rows_in_which_noise_weighs_little_are_read_in_full(family):
    draw = torch.Generator().manual_seed(2)
    found = held()
    question, x = Question.about(found, "sign"), everything(found)
    wide = x @ torch.randn(D, 600, generator=draw) + 1e-4 * torch.randn(N, 600, generator=draw)
    assert probe(question, wide, [family], N)[family].worth().value > 0.4


def test_what_was_shrunk_among_many_columns_is_still_read(monkeypatch):
    monkeypatch.setattr("expunge.probing._DIRECTIONS", 8)  # less is wide
    found = held()
    question, x = Question.about(found, "sign"), everything(found)
    noise = torch.randn(N, 12, generator=torch.Generator().manual_seed(3))
    wide = torch.cat([noise, 0.05 * x[:, :1]], 1)
    assert probe(question, wide, ["linear"], N)["linear"].worth().low > 0.5
    small = 0.05 * x[:, :1] + 0.005 * torch.randn(N, 6, generator=torch.Generator().manual_seed(4))
    wide = torch.cat([noise, small], 1)  # probes that are not linear find it as well
    assert probe(question, wide, ["k-NN"], N)["k-NN"].worth().value > 0.15


def test_what_stands_among_many_columns_of_next_to_nothing_is_still_read(monkeypatch):
    monkeypatch.setattr("expunge.probing._DIRECTIONS", 8)
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(N, 2, generator=draw)
    found = held(x, (x[:, 0] * x[:, 1] > 0).long())  # which nothing linear tells
    wide = torch.cat([x, 1e-3 * torch.randn(N, 60, generator=draw)], 1)
    question = Question.about(found, "sign")
    assert probe(question, wide, ["k-NN"], N)["k-NN"].worth().low > 0.1


def test_a_sample_far_from_all_that_were_learnt_from_is_read_as_the_farthest_of_them():
    found = held()
    question, x = Question.about(found, "sign"), everything(found)
    learn, _, score = question.ways
    rarely = torch.zeros(N, 1)
    rarely[learn[0]] = 1e-3
    rarely[score[:9]] = 1e3
    far, near = (torch.cat([x, each], 1) for each in (rarely, rarely.clamp_max(1e-3)))
    got, want = (probe(question, each, ["linear"], N)["linear"].told for each in (far, near))
    torch.testing.assert_close(got, want)


def test_the_linear_probe_learns_from_as_many_rows_as_can_be_held(monkeypatch):
    sizes = []

    def family(learn, _choose):
        sizes.append(tuple(learn.x.shape))
        return lambda asked: asked.bets

    monkeypatch.setattr("expunge.probing.FAMILIES", {"linear": family})
    monkeypatch.setattr("expunge.probing._HELD", 7000)
    for columns in (7, 700):
        probe(Question.about(held(), "sign"), torch.randn(N, columns), ["linear"], 17)
    assert sizes == [(192, 7), (10, 700)]


def test_others_than_the_linear_probe_learn_from_some_rows_alone(monkeypatch):
    sizes = []

    def family(learn, _choose):
        sizes.append(len(learn))
        return lambda asked: asked.bets

    monkeypatch.setattr("expunge.probing.FAMILIES", {"linear": family, "other": family})
    probe(Question.about(held(), "sign"), torch.zeros(N, 1), ["linear", "other"], 17)
    assert sizes == [192, 17]


def test_a_family_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match="lineal"):
        probe(Question.about(held(), "sign"), torch.zeros(N, 1), ["lineal"], 17)


LIGHT = {"linear": linear, "k-NN": neighbours}


def numbered(beside=0.0):
    """A sign that goes with a label that is a number, and features that are the label, and more."""
    draw = torch.Generator().manual_seed(6)
    y = torch.randn(2000, generator=draw)
    z = (y + 0.3 * torch.randn(2000, generator=draw) > 0.3).long()
    more = beside * (z + 0.5 * torch.randn(2000, generator=draw))
    test = TensorDataset(torch.stack([y, -y, more], 1), y[:, None], z)
    parts = split(TensorDataset(*test[:5]), Request(Attribute("sign")), test=test)
    return reserve(parts, Regression(attributes=TASK.attributes), ["sign"])


def test_features_that_are_a_label_which_is_a_number_tell_nothing_beyond_it(monkeypatch):
    monkeypatch.setattr("expunge.probing.FAMILIES", LIGHT)
    found = numbered()
    question, x = Question.about(found, "sign"), everything(found)
    gain = best(probe(question, x, [*LIGHT], N)).worth()
    assert gain.value == pytest.approx(0, abs=0.005)
    assert gain.low < 1e-6  # zero, but for rounding
    quarters = Question(question.z, question.y, None, question.ways)  # of who knows no more
    assert best(probe(quarters, x, [*LIGHT], N)).worth().value > 0.02
    permuted = probe(question.permuted, x, [*LIGHT], N)
    assert best(permuted).worth().low < 1e-6


def test_features_that_tell_more_than_a_label_which_is_a_number_are_found(monkeypatch):
    monkeypatch.setattr("expunge.probing.FAMILIES", LIGHT)
    found = numbered(beside=1.0)
    question, x = Question.about(found, "sign"), everything(found)
    assert best(probe(question, x, [*LIGHT], N)).worth().low > 0.05
    in_all = best(probe(question.unaided, x[:, :2], [*LIGHT], N)).worth()
    assert in_all.low > 0.5  # of who knows no label, the label tells most


@pytest.mark.parametrize("subjects", [None, torch.arange(60) // 3])
def test_no_bet_by_a_number_was_learnt_from_whom_it_is_about(subjects, monkeypatch):
    def memory(learn, _choose):
        def guess(asked):
            same = asked.x[:, None, 0] == learn.x[:, 0]
            told = same.double() @ F.one_hot(learn.z, 2).double()
            return torch.where(same.any(1, keepdim=True), (told + 1e-3).log2(), asked.bets)

        return guess

    monkeypatch.setattr("expunge.probing.FAMILIES", {"memory": memory})
    ways = torch.arange(24), torch.arange(24, 39), torch.arange(39, 60)
    z, y = torch.arange(60) % 2, torch.zeros(60).long()
    number = torch.arange(60.0) if subjects is None else subjects.float()
    found = Question(z, y, subjects, ways).knowing(number[:, None])
    torch.testing.assert_close(found.told, found.prior.bets(y))
