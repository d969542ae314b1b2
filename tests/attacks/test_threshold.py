"""Every signal of the threshold attack, and the tasks for which it makes no sense."""

from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from expunge.algebra.statistics import auc
from expunge.attacks.threshold import Signal, Threshold, signal
from expunge.errors import MissingInput
from expunge.observing import Observation, Snapshot

SIGNALS = get_args(Signal)


def seen(logits, labels, kind="classification"):
    return Observation(torch.arange(len(labels)), logits, labels, kind)


def remembered(bonus):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 5
    logits = torch.randn(120, 5, generator=generator)
    logits[torch.arange(120), labels] += 1
    logits[:50][torch.arange(50), labels[:50]] += bonus
    test = seen(logits[50:], labels[50:])
    return Snapshot(seen(logits[:50], labels[:50]), test, test)


@pytest.mark.parametrize("name", SIGNALS)
def test_every_signal_is_higher_where_the_model_is_sure_and_right(name):
    logits = torch.tensor([[0.0, 0.1, 0], [0, 2.0, 0], [0, 9.0, 0]])
    found = signal(seen(logits, torch.tensor([1, 1, 1])), name)
    assert found.dtype == torch.double
    assert bool((found.diff() > 0).all())


@pytest.mark.parametrize("name", [s for s in SIGNALS if s != "entropy"])
def test_every_signal_but_entropy_is_lower_where_the_model_is_sure_and_wrong(name):
    logits = torch.tensor([[0.0, 9.0, 0], [0, 0.1, 0]])
    found = signal(seen(logits, torch.tensor([0, 0])), name)
    assert found[0] < found[1]


def test_entropy_alone_does_not_look_at_the_label():
    logits = torch.tensor([[0.0, 3.0, 1.0]])
    first = signal(seen(logits, torch.tensor([0])), "entropy")
    assert torch.equal(first, signal(seen(logits, torch.tensor([1])), "entropy"))


def test_loss_is_the_cross_entropy_and_confidence_its_exponential():
    logits, labels = (
        torch.randn(9, 4, generator=torch.Generator().manual_seed(2)),
        torch.arange(9) % 4,
    )
    found = seen(logits, labels)
    wanted = -F.cross_entropy(logits.double(), labels, reduction="none")
    torch.testing.assert_close(signal(found, "loss"), wanted)
    torch.testing.assert_close(signal(found, "confidence"), wanted.exp())
    torch.testing.assert_close(signal(found, "phi"), torch.logit(wanted.exp()))


def test_loss_confidence_and_phi_order_samples_alike():
    aucs = {
        name: auc(found.member, found.nonmember).value
        for name in ("loss", "confidence", "phi")
        for found in [Threshold(name).score(remembered(1.0))]
    }
    assert len({round(value, 12) for value in aucs.values()}) == 1
    assert aucs["loss"] > 0.5


@pytest.mark.parametrize("name", SIGNALS)
def test_a_saturated_model_still_gives_finite_scores(name):
    logits = torch.tensor([[300.0, -300, 0], [-300, 300, 0]])
    assert signal(seen(logits, torch.tensor([0, 0])), name).isfinite().all()


def test_phi_tells_saturated_samples_apart_where_confidence_cannot():
    found = seen(torch.tensor([[60.0, 0], [90, 0]]), torch.tensor([0, 0]))
    assert signal(found, "confidence").unique().numel() == 1
    assert signal(found, "phi").tolist() == [60, 90]


@pytest.mark.parametrize("name", SIGNALS)
def test_a_sample_that_was_pushed_too_far_gives_itself_away_below_one_half(name):
    found = Threshold(name).score(remembered(-1.5))
    value = auc(found.member, found.nonmember).value
    if name == "entropy":  # an untouched measure of doubt: it sees doubt, not error
        assert value != 0.5
    else:
        assert value < 0.4


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_other_tasks_are_attacked_by_their_loss(kind):
    labels = torch.ones(6, 2)
    good, bad = torch.full((6, 2), 1.1), torch.full((6, 2), -3.0)
    found = Threshold("loss").score(
        Snapshot(seen(good, labels, kind), seen(bad, labels, kind), seen(bad, labels, kind))
    )
    assert (found.member > found.nonmember).all()


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
@pytest.mark.parametrize("name", [s for s in SIGNALS if s != "loss"])
def test_a_signal_that_makes_no_sense_for_a_task_says_so(name, kind):
    part = seen(torch.ones(4, 2), torch.ones(4, 2), kind)
    with pytest.raises(MissingInput, match=f"no sense for a {kind} task"):
        Threshold(name).score(Snapshot(part, part, part))
