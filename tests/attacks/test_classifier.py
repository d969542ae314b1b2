"""Legacy attacks: each finds what is there, and a sample is judged by those who never saw it."""

import pytest
import torch

from expunge.algebra.statistics import auc
from expunge.attacks.classifier import Classifier
from expunge.errors import MissingInput
from expunge.imagining import imagined
from expunge.observing import Observation, Snapshot

NAMES = ("salun", "scrub", "duck")


def drawn(seed, memory, sizes=(60, 90, 120)):
    generator = torch.Generator().manual_seed(seed)

    def part(size, bonus):
        labels = torch.randint(0, 3, (size,), generator=generator)
        logits = torch.randn(size, 3, generator=generator)
        logits[torch.arange(size), labels] += 1 + bonus
        return Observation(torch.arange(size), logits, labels)

    forget, retain, test = sizes
    return Snapshot(part(forget, memory), part(retain, memory), part(test, 0.0))


def auc_of(name, snapshot):
    scores = Classifier(name).score(snapshot)
    return auc(scores.member, scores.nonmember).value


@pytest.mark.parametrize("name", NAMES)
def test_what_is_remembered_is_found(name):
    assert auc_of(name, drawn(0, 2.0)) > 0.75


@pytest.mark.parametrize(
    ("name", "draws"),
    [("salun", 8), ("scrub", 16), pytest.param("duck", 3, marks=pytest.mark.slow)],
)
def test_over_many_draws_nothing_is_found_where_nothing_is(name, draws):
    found = torch.tensor([auc_of(name, drawn(seed, 0.0)) for seed in range(draws)])
    assert abs(found.mean() - 0.5) < 0.08


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_shares_and_the_order_of_samples_does_not_matter(name):
    snapshot = imagined(memory=1.0)
    scores = Classifier(name).score(snapshot)
    both = torch.cat([scores.member, scores.nonmember])
    assert 0 <= both.min() <= both.max() <= 1
    order = torch.randperm(len(snapshot.forget), generator=torch.Generator().manual_seed(4))
    mixed = Snapshot(snapshot.forget.only(order), snapshot.retain, snapshot.test)
    torch.testing.assert_close(Classifier(name).score(mixed).member, scores.member[order])


def test_a_forget_set_that_stands_out_the_other_way_is_below_one_half_only_to_salun():
    """The two others learn from the forget set itself which way to look."""
    snapshot = drawn(1, 0.0)
    snapshot.forget.logits[torch.arange(60), snapshot.forget.labels] -= 3
    assert auc_of("salun", snapshot) < 0.3
    assert auc_of("scrub", snapshot) > 0.7
    assert auc_of("duck", snapshot) > 0.7


def test_too_few_samples_to_learn_from_are_told():
    with pytest.raises(MissingInput, match="4 forgotten"):
        Classifier().score(drawn(0, 1.0, (4, 30, 30)))
