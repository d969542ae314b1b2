"""Calibration against scikit-learn, a plain loop, and models that say the truth."""

import pytest
import torch
from sklearn.metrics import brier_score_loss, log_loss

from expunge.algebra.calibration import brier, calibration_error, reliability
from expunge.observing import Observation

N, C = 257, 4


def answers(seed, n=N, sharper=1.0):
    """Probabilities, and labels drawn from them; a model that is too sure sharpens its own."""
    draw = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(n, C, generator=draw).double()
    labels = torch.multinomial(logits.softmax(1), 1, generator=draw)[:, 0]
    return (sharper * logits).softmax(1), labels


def test_scores_are_those_of_scikit_learn():
    p, labels = answers(0)
    want = brier_score_loss(labels.numpy(), p.numpy(), labels=range(C), scale_by_half=False)
    assert brier(p, labels).mean().item() == pytest.approx(want)
    seen = Observation(torch.arange(N), p.log(), labels)
    want = log_loss(labels.numpy(), p.numpy(), labels=range(C))
    assert seen.losses.mean().item() == pytest.approx(want)


def by_hand(p, labels, bins):
    found = 0.0
    for k in range(bins):
        inside = [i for i in range(len(p)) if k / bins < p[i].max() <= (k + 1) / bins]
        if inside:
            sure = sum(p[i].max().item() for i in inside)
            right = sum(float(p[i].argmax() == labels[i]) for i in inside)
            found += abs(sure - right) / len(p)
    return found


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_the_error_is_that_of_a_plain_loop(bins):
    p, labels = answers(1, sharper=1.7)
    want = by_hand(p, labels, bins)
    assert reliability(p, labels, bins).error == pytest.approx(want)
    assert calibration_error(p, labels, bins).value == pytest.approx(want)


def test_who_is_too_sure_is_found_and_who_says_the_truth_is_not():
    honest, bold = (
        calibration_error(*answers(2, n=4000, sharper=sharper), 10) for sharper in (1.0, 2.0)
    )
    assert honest.low < 0.01
    assert honest.value < 0.03
    assert bold.low > 0.06
    assert bold.low < bold.value < bold.high


def test_an_interval_holds_its_number_and_nothing_below_zero():
    for seed in range(10):
        found = calibration_error(*answers(seed, n=40), 15)
        assert 0 <= found.low <= found.value <= found.high


def test_what_is_said_with_certainty_is_in_the_last_bin():
    p = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).double()
    found = reliability(p, torch.tensor([0, 1, 1]), 5)
    assert found.confidence.tolist() == [1]
    assert found.accuracy.tolist() == pytest.approx([2 / 3])
    assert found.share.tolist() == [1]


def test_every_share_is_counted_once():
    p, labels = answers(3)
    assert reliability(p, labels, 15).share.sum().item() == pytest.approx(1)
