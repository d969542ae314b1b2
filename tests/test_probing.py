"""Questions about held-out samples, of which the answers are known."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Request, split
from expunge.errors import MissingInput, UnknownName
from expunge.probing import Question, best, probe
from expunge.reserving import reserve

N, D, C = 300, 4, 3
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


def test_wide_rows_are_read_along_their_principal_directions():
    draw = torch.Generator().manual_seed(2)
    found = held()
    question, x = Question.about(found, "sign"), everything(found)
    wide = x @ torch.randn(D, 600, generator=draw) + 1e-4 * torch.randn(N, 600, generator=draw)
    assert question.asked(wide)[0].x.shape[1] <= 512
    assert probe(question, wide, ["linear"], N)["linear"].worth().value > 0.8  # noise weighs little


def test_others_than_the_linear_probe_learn_from_some_rows_alone(monkeypatch):
    sizes = []

    def family(learn, _choose):
        sizes.append(len(learn))
        return lambda asked: asked.bets

    monkeypatch.setattr("expunge.probing.FAMILIES", {"linear": family, "other": family})
    probe(Question.about(held(), "sign"), torch.zeros(N, 1), ["linear", "other"], 17)
    assert sizes == [120, 17]


def test_a_family_that_is_not_there_is_named():
    with pytest.raises(UnknownName, match="lineal"):
        probe(Question.about(held(), "sign"), torch.zeros(N, 1), ["lineal"], 17)
