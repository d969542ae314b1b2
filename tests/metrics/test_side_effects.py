"""What unlearning does beside its aim: confidence, classes, neighbours, members, and updates."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Regression, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.calibration import Calibration
from expunge.metrics.collateral import Collateral
from expunge.metrics.update_leakage import UpdateLeakage
from expunge.observing import Observation, Snapshot

N, TEST, C = 200, 120, 4
ALL = {"forget": 1.0, "retain": 1.0, "test": 1.0}


def parts(target):
    train, test = (TensorDataset(torch.zeros(n, 2), torch.arange(n) % C) for n in (N, TEST))
    return split(train, Request(target), test=test)


SOME = parts(Samples(tuple(range(30))))


def seen(found=SOME, *, wrong=lambda ids, _: ids < 0, sure=None, seed=0):
    """Answers by the samples that they are wrong about, and by how sure they are on each set."""
    draw, sets = torch.Generator().manual_seed(seed), []
    for name in ("forget", "retain", "test"):
        ids = getattr(found, name).indices
        labels = ids % C
        said = torch.where(wrong(ids, labels), (labels + 1) % C, labels)
        height = (sure or ALL)[name] + 0.3 * torch.rand(len(ids), 1, generator=draw)
        logits = torch.zeros(len(ids), C).scatter(1, said[:, None], height)
        at = ids / N
        x = torch.stack([at.cos(), at.sin()], 1)  # the next ids are the nearest
        sets.append(Observation(ids, logits, labels, features={"auto": x}))
    return Snapshot(*sets, found.removed)


def measured(metric, after, before, *references, found=SOME, task=None):
    model = nn.Linear(2, C)
    members = [Reference(lambda: model, s, k, 1.0, "") for k, s in enumerate(references)]
    outcome = Outcome.of(model, model, found, task=task or Classification())
    trial = Trial(outcome, before, after, References(tuple(members)) if members else None)
    return {m.name: m for m in metric.measure(trial)}


def test_a_model_that_became_too_sure_is_found_beside_retrained_ones():
    wrong = {"wrong": lambda ids, _: ids % 3 == 0}
    honest = {"forget": 1.0, "retain": 1.0, "test": 1.5}  # two thirds sure, and as often right
    bold = seen(sure={**honest, "test": 6.0}, **wrong)
    theirs = [seen(sure=honest, seed=k, **wrong) for k in range(3)]
    found = measured(Calibration(), bold, theirs[0], *theirs)
    error = found["calibration error"]
    assert error.value > 0.25
    assert max(error.target) < 0.15
    assert error.interval[0] > error.original.high
    assert found["Brier score"].comparison.difference.low > 0
    assert found["log-loss"].comparison.difference.low > 0
    assert {*error.exhibit.columns["model"]} == {"original", "unlearned", "retrained"}


def test_where_a_class_left_only_the_others_are_asked_about():
    gone = parts(Classes((1,)))
    lost = seen(gone, wrong=lambda _, labels: labels == 1)
    found = measured(Calibration(), lost, seen(gone), found=gone)
    assert list(found) == [
        f"{name}, kept classes" for name in ("calibration error", "Brier score", "log-loss")
    ]
    assert found["Brier score, kept classes"].n == TEST * 3 // 4
    assert found["Brier score, kept classes"].comparison is None


def test_a_class_that_is_hit_is_named_and_a_mean_would_hide_it():
    def hits(label, every):
        return seen(wrong=lambda ids, labels: (labels == label) & (ids % every == 0))

    found = measured(Collateral(), hits(2, 2), seen(), seen(), hits(0, 12))
    worst = found["accuracy lost in the worst-hit class"]
    assert "class 2, against the original" in worst.note
    assert worst.value == 1.0  # ids of class 2 are all even
    assert worst.n == TEST // C
    assert worst.target == pytest.approx((0, 1 / 3), abs=0.01)
    rows = zip(*worst.exhibit.columns.values(), strict=True)
    assert {(k, lost) for k, lost, model in rows if model == "unlearned"} == {
        ("0", 0), ("1", 0), ("2", 1), ("3", 0)
    }  # fmt: skip


def test_of_many_classes_the_worst_has_a_wider_interval():
    one = seen(wrong=lambda ids, labels: (labels == 3) & (ids % 8 == 3))
    found = measured(Collateral(), one, seen())["accuracy lost in the worst-hit class"]
    low, high = found.interval
    assert found.value == 0.5
    assert high - low > 2 * 1.96 * (0.25 / 30) ** 0.5


def test_what_neighbours_lose_is_told_apart_from_what_all_lose():
    hit = seen(wrong=lambda ids, _: (ids >= 30) & (ids < 47))
    everywhere = seen(wrong=lambda ids, _: ids % 2 == 0)
    metric = Collateral(near=0.1)
    found = measured(metric, hit, seen(), everywhere)["accuracy lost near the forget set"]
    assert (found.value, found.n) == (1, 17)
    assert found.interval[0] > 0.7
    assert abs(found.target[0]) < 0.3
    assert "0.000 by all others" in found.note


def test_who_stays_may_be_exposed_by_who_left():
    quiet, loud = {**ALL, "retain": 1.05}, {**ALL, "retain": 2.0}
    exposed = seen(sure=loud)
    theirs = [seen(sure=quiet, seed=k) for k in range(3)]
    found = measured(Collateral(), exposed, theirs[0], *theirs)
    risk = found["membership AUC of samples that stay"]
    assert risk.value == 1
    assert 0.5 < max(risk.target) < 0.75
    assert risk.comparison.outside
    assert risk.original.high < risk.value


def test_without_features_the_neighbours_alone_are_missing():
    blind = seen()
    for part in (blind.forget, blind.retain, blind.test):
        part.features.clear()
    found = measured(Collateral(), blind, blind)
    assert "features are needed" in found["accuracy lost near the forget set"].note
    assert found["accuracy lost in the worst-hit class"].value == 0


def test_where_everybody_or_nobody_is_near_nobody_is_told_apart():
    found = measured(Collateral(near=1.0), seen(), seen())["accuracy lost near the forget set"]
    assert "too few samples stay" in found.note
    empty = seen().about(torch.tensor([-1]))
    found = measured(Collateral(), empty, empty)["accuracy lost near the forget set"]
    assert "nobody left" in found.note


def test_rare_classes_are_not_looked_at():
    few = seen()
    rare = Snapshot(few.forget, few.retain, few.test.only(torch.arange(8)))
    found = measured(Collateral(), rare, rare)["accuracy lost in the worst-hit class"]
    assert "no class that stays has 5 test samples" in found.note


def test_an_update_tells_on_its_subject_after_exact_retraining_too():
    before, after = seen(), seen(sure={**ALL, "forget": 0.2}, seed=1)
    slight = seen(sure={**ALL, "forget": 0.9}, seed=2)
    found = measured(UpdateLeakage(), slight, before, after)["update leakage (AUC)"]
    assert 0.5 < found.value < 1
    assert found.target == (1,)
    assert "no failure to forget" in found.note
    assert found.n == 30
    low, high = found.interval
    assert low < found.value < high


def test_a_model_that_did_not_change_tells_nothing():
    same = seen()
    assert measured(UpdateLeakage(), same, same)["update leakage (AUC)"].value == 0.5


def test_an_update_of_numbers_is_read_by_their_errors():
    draw = torch.Generator().manual_seed(0)

    def part(name, error):
        ids = getattr(SOME, name).indices
        numbers = torch.randn(len(ids), 1, generator=draw)
        return Observation(ids, numbers + error, numbers, "regression")

    before = Snapshot(part("forget", 0.0), part("retain", 0.0), part("test", 0.0))
    after = Snapshot(part("forget", 3.0), part("retain", 0.0), part("test", 0.0))
    found = measured(UpdateLeakage(), after, before, task=Regression())["update leakage (AUC)"]
    assert found.value == 1


def test_when_nobody_left_an_update_is_about_nobody():
    empty = seen().about(torch.tensor([-1]))
    with pytest.raises(MissingInput, match="only where both are"):
        measured(UpdateLeakage(), empty, empty)
