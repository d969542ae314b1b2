"""A class that is only hidden is found by its features; one that is gone is not."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import MissingInput
from expunge.metric import Trial
from expunge.metrics.probe import Probe
from expunge.observing import Observation, Snapshot

N, TEST, D = 360, 180, 7


def problem(*targets):
    train = TensorDataset(torch.zeros(N, 2), torch.arange(N) % 4)
    test = TensorDataset(torch.zeros(TEST, 2), torch.arange(TEST) % 4)
    requests = [Request(target, id=f"r{k}") for k, target in enumerate(targets)]
    return split(train, *requests, test=test)


def answers(parts, seed, *, apart=0.0, memory=0.0):
    """Features in which class 1 lies ``apart`` from the rest, and members from the unseen."""
    generator = torch.Generator().manual_seed(seed)

    def part(found, *, trained):
        labels = found.indices % 4
        x = torch.randn(len(found), D, generator=generator)
        x[:, 0] += apart * (labels == 1)
        x[:, 1] += memory * trained
        return Observation(found.indices, torch.zeros(len(found), 4), labels, features={"auto": x})

    return Snapshot(
        part(parts.forget, trained=True),
        part(parts.retain, trained=True),
        part(parts.test, trained=False),
        parts.removed,
    )


def measured(parts, before, after, references=(), metric=None):
    model = nn.Linear(2, 4)
    outcome = Outcome.of(model, model, parts, task=Classification())
    members = [Reference(lambda: model, s, k, 1.0, "") for k, s in enumerate(references)]
    trial = Trial(outcome, before, after, References(tuple(members)) if members else None)
    return {m.name: m for m in (metric or Probe()).measure(trial)}


def of_class(after, *, references=4):
    parts = problem(Classes((1,)))
    theirs = [answers(parts, 10 + k, apart=0.7) for k in range(references)]
    before, unlearned = answers(parts, 0, apart=4.0), answers(parts, 1, apart=after)
    return measured(parts, before, unlearned, theirs)["class-probe AUC"]


def test_a_class_that_the_features_still_separate_is_hidden_not_forgotten():
    found = of_class(4.0)
    assert found.value > 0.98
    assert found.comparison.difference.low > 0.1
    assert found.control.outside
    assert "hidden, not forgotten" in found.note
    assert found.n == 45


def test_a_class_that_retrained_models_separate_as_well_is_not_called_hidden():
    found = of_class(0.7)
    assert found.value == pytest.approx(0.69, abs=0.1)  # Phi(0.7 / sqrt 2), what there is to read
    assert abs(found.comparison.difference.value) < 0.1
    assert "hidden" not in found.note
    assert len(found.target) == 4


def test_without_references_a_probe_compares_with_nothing():
    found = of_class(4.0, references=0)
    assert found.value > 0.98
    assert found.comparison is None
    assert "hidden" not in found.note


def test_without_test_samples_of_the_removed_class_the_reason_is_said():
    parts = problem(Classes((1,)))
    after = answers(parts, 1)
    kept = Snapshot(after.forget, after.retain, after.test.only(after.test.labels != 1), (1,))
    found = measured(parts, kept, kept)["class-probe AUC"]
    assert found.value is None
    assert "no sample of the removed classes" in found.note


def of_samples(memory, count=60, metric=None):
    parts = problem(Samples(tuple(range(count))))
    before, after = (answers(parts, seed, memory=m) for seed, m in ((0, 4.0), (1, memory)))
    theirs = [answers(parts, 10 + k) for k in range(4)]
    for k, reference in enumerate(theirs):
        forget = answers(parts, 20 + k).forget  # references never saw the forgotten ones
        theirs[k] = Snapshot(forget, reference.retain, reference.test)
    return measured(parts, before, after, theirs, metric)["membership-probe AUC"]


def test_samples_that_the_features_remember_are_given_away():
    found = of_samples(4.0)
    assert found.value > 0.95
    assert found.original.value > 0.95
    assert found.comparison.difference.low > 0.2
    assert "more than retrained models' do" in found.note
    assert (found.n, len(found.target)) == (60, 4)


def test_samples_that_the_features_do_not_remember_are_not():
    found = of_samples(0.0)
    low, high = found.interval
    assert low - 0.05 < 0.5 < high + 0.05
    assert "more than" not in found.note


def test_unseen_samples_are_of_the_same_classes():
    parts = problem(Samples(tuple(range(0, 80, 4))))  # class 0 alone
    both = answers(parts, 0)
    assert "against 45 unseen" in measured(parts, both, both)["membership-probe AUC"].note


def test_too_few_samples_for_the_folds_are_said_not_scored():
    found = of_samples(4.0, count=4)
    assert found.value is None
    assert "5 folds" in found.note
    assert of_samples(4.0, count=4, metric=Probe(folds=4)).value is not None


def test_a_mixed_request_has_a_probe_of_each_kind():
    parts = problem(Classes((1,)), Samples((0, 2, 3, 4, 6, 7, 8)))
    found = measured(parts, answers(parts, 0, apart=4.0), answers(parts, 1, apart=4.0))
    assert list(found) == ["class-probe AUC", "membership-probe AUC"]
    assert found["membership-probe AUC"].n == 7


def test_rows_bound_what_a_probe_is_trained_on():
    parts = problem(Samples(tuple(range(60))))
    both = answers(parts, 0)
    found = measured(parts, both, both, metric=Probe(rows=20))["membership-probe AUC"]
    assert found.n == 20


def test_without_features_the_reason_is_said():
    parts = problem(Classes((1,)))
    blind = answers(parts, 0)
    for part in (blind.forget, blind.retain, blind.test):
        part.features.clear()
    assert "features are needed" in measured(parts, blind, blind)["class-probe AUC"].note


def test_when_nobody_left_there_is_nothing_to_probe_for():
    parts = problem(Samples((1,)))
    some = answers(parts, 0)
    empty = Snapshot(some.forget.only(some.forget.ids < 0), some.retain, some.test)
    with pytest.raises(MissingInput, match="nobody left"):
        measured(parts, empty, empty)
