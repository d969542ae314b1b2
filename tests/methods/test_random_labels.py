"""What is special about random labels: which labels are drawn, and who learns them."""

from dataclasses import replace

import pytest
import torch

from expunge import Classes, Request, Samples, split
from expunge.batching import Batches
from expunge.errors import TargetMismatch
from expunge.method import Case
from expunge.methods.random_labels import RandomLabels
from expunge.relabelling import relabelled, wrong_labels
from expunge.testing import toy
from expunge.unlearning import seeded, unlearn


def case_of(threes, *targets):
    parts = split(threes.problem.train, *map(Request, targets), test=threes.problem.test)
    forget = Batches(parts.forget, 32, shuffle=True)
    return Case(parts.targets, forget, Batches(parts.retain), None, threes.problem.task)


def drawn(threes, *targets, seed=0):
    """The forget set's own labels and the wrong ones that were drawn for them."""
    case = case_of(threes, *targets)
    with seeded(seed):
        wrong = wrong_labels(threes.original, case)
    return threes.problem.train.tensors[1][case.forget.part.indices], wrong


def test_a_class_of_digits_is_forgotten_and_the_others_are_kept(threes):
    outcome, after = threes.unlearned(RandomLabels())
    assert after.test_removed.accuracy <= 0.02
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.03
    assert len(outcome.traces["loss"]) == RandomLabels().steps


@pytest.mark.parametrize("seed", range(3))
def test_no_sample_gets_its_own_label_or_that_of_a_removed_class(threes, seed):
    own, wrong = drawn(threes, Classes((3, 5)), seed=seed)
    assert len(own) == len(wrong) > 100
    assert not torch.isin(wrong, torch.tensor([3, 5])).any()
    own, wrong = drawn(threes, Samples(tuple(range(0, 800, 3))), seed=seed)
    assert not (own == wrong).any()


def test_several_requests_forbid_the_classes_of_all(threes):
    own, wrong = drawn(threes, Classes((3,)), Classes((7,)), Samples((0, 1, 2)))
    assert not torch.isin(wrong, torch.tensor([3, 7])).any()
    assert not (own == wrong).any()


def test_every_other_class_is_as_likely_as_the_next(threes):
    own, wrong = drawn(threes, Samples(tuple(range(799))))
    for k in range(10):
        counts = wrong[own == k].bincount(minlength=10)
        assert counts[k] == 0
    total = wrong.bincount(minlength=10)
    assert total.min() > 0.6 * total.float().mean()


def test_a_sample_keeps_the_label_that_it_drew(threes):
    taught = {}
    case = case_of(threes, Classes((3,)))
    stream = relabelled(case, wrong_labels(threes.original, case))
    for _, (batch, labels) in zip(range(40), stream, strict=False):
        for x, label in zip(batch[0], labels.tolist(), strict=True):
            taught.setdefault(tuple(x.tolist()), []).append(label)
    assert len(taught) == len(threes.split.forget)
    assert all(len(labels) > 5 and len(set(labels)) == 1 for labels in taught.values())


def test_where_no_class_remains_there_is_no_wrong_label():
    problem = toy(Samples((1, 2, 3)))
    everyone = replace(problem.split, requests=(Request(Classes((0, 1, 2))),))
    with pytest.raises(TargetMismatch, match="no other class remains"):
        unlearn(problem.model, everyone, RandomLabels(), task=problem.task)


def test_a_whole_share_never_learns_from_the_rest(threes):
    _, after = threes.unlearned(RandomLabels(share=1.0, steps=150, lr=0.05))
    assert after.forget.accuracy <= 0.02
    assert after.retain.accuracy < threes.before.retain.accuracy - 0.1
