"""Relative confidence against double loops, planted certainty, and its promise of a p-value."""

import pytest
import torch
from scipy import stats

from expunge.algebra.ratios import beaten, calibrated, offline_ratio, online_ratio
from expunge.algebra.statistics import auc, clopper_pearson, roc


def confident(seed=0, k=8, n=13):
    generator = torch.Generator().manual_seed(seed)
    trained = torch.rand(k, n, generator=generator) < 0.5
    trained[0], trained[1] = True, False
    scores = torch.rand(k, n, generator=generator).double()
    return scores, trained, torch.rand(n, generator=generator).double()


def planted(seed, k, n, *, left):
    """Models with a record have this share of the doubt left that models without it have."""
    generator = torch.Generator().manual_seed(seed)
    doubt = torch.rand(n, generator=generator).double()
    trained = torch.rand(k, n, generator=generator) < 0.5
    noise = (0.3 * torch.randn(k, n, generator=generator)).double().exp()
    return 1 - (torch.where(trained, left, 1.0) * doubt * noise).clamp_max(1), trained


def test_ratios_are_those_of_plain_means_record_by_record():
    scores, trained, target = confident()
    online, offline = [], []
    for x, column, rows in zip(target, scores.T, trained.T, strict=True):
        inside, outside = column[rows].mean(), column[~rows].mean()
        online.append((x / ((inside + outside) / 2)).item())
        offline.append((x / (0.5 * (1.3 * outside + 0.7))).item())
    assert online_ratio(scores, trained, target).tolist() == pytest.approx(online)
    assert offline_ratio(scores, trained, target, a=0.3).tolist() == pytest.approx(offline)


def test_offline_ratios_do_not_ask_models_that_know_the_record():
    scores, trained, target = confident(1)
    other = torch.where(trained, 0.0, scores)
    found = offline_ratio(scores, trained, target, a=0.5)
    assert torch.equal(found, offline_ratio(other, trained, target, a=0.5))


def test_a_confidence_of_zero_is_a_confidence():
    trained = torch.tensor([[True], [False], [False]])
    scores = torch.tensor([[0.9], [0.0], [0.4]]).double()
    found = offline_ratio(scores, trained, torch.tensor([0.3]).double(), a=1.0)
    assert found.item() == pytest.approx(0.3 / 0.2)


def test_without_any_doubt_left_offline_ratios_are_confidences():
    scores, trained, target = confident(2)
    half = offline_ratio(scores, trained, target, a=-1.0)
    assert torch.equal(half, target)


def test_a_population_point_is_compared_with_models_without_it():
    scores, _, target = confident(3)
    nobody = torch.zeros_like(scores, dtype=torch.bool)
    found = online_ratio(scores, nobody, target)
    torch.testing.assert_close(found, target / scores.mean(0))


def test_ratios_of_what_nobody_believes_are_finite():
    nobody = torch.zeros(3, 2, dtype=torch.bool)
    zero = torch.zeros(3, 2).double()
    assert offline_ratio(zero, nobody, torch.tensor([0.0, 1.0]), a=1.0).isfinite().all()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_share_beaten_is_that_of_a_double_loop(gamma):
    generator = torch.Generator().manual_seed(4)
    x = (torch.rand(17, generator=generator).double() * 8).round() / 4
    z = (torch.rand(29, generator=generator).double() * 8).round() / 4
    wanted = [sum(a >= gamma * b for b in z.tolist()) / 29 for a in x.tolist()]
    assert beaten(x, z, gamma=gamma).tolist() == wanted
    assert beaten(torch.stack([x, x + 1]), z, gamma=gamma)[0].tolist() == wanted


def test_the_population_orders_records_as_their_ratios_do():
    generator = torch.Generator().manual_seed(5)
    ratio, z = (torch.rand(n, 2, generator=generator).double() + 0.05 for n in (900, 700))
    ratio, z = ratio[:, 0] / ratio[:, 1], z[:, 0] / z[:, 1]
    member = torch.rand(900, generator=generator) < ratio / (ratio + 1)
    score = beaten(ratio, z)
    assert score.tolist() == pytest.approx(stats.ecdf(z.numpy()).cdf.evaluate(ratio.numpy()))
    assert auc(score[member], score[~member]).value == pytest.approx(
        auc(ratio[member], ratio[~member]).value, abs=0.002
    )
    dense = torch.cat([ratio, z])
    assert roc(beaten(ratio, dense)[member], beaten(ratio, dense)[~member]) == roc(
        ratio[member], ratio[~member]
    )


def test_what_is_like_the_population_beats_a_share_of_it_as_often_as_it_should():
    generator = torch.Generator().manual_seed(6)
    scores = torch.rand(6, 4000, generator=generator).double()
    target = torch.rand(4000, generator=generator).double()
    out = torch.zeros(6, 4000, dtype=torch.bool)
    out[:, 2000:] = torch.rand(6, 2000, generator=generator) < 0  # no model saw any
    ratio = offline_ratio(scores, out, target, a=0.4)
    score = beaten(ratio[:2000], ratio[2000:])
    assert stats.kstest(score.numpy(), "uniform").pvalue > 0.001
    for b in (0.5, 0.9, 0.99):
        rate = clopper_pearson(int((score >= b).sum()), 2000, 0.999)
        assert rate.low <= 1 - b <= rate.high


@pytest.mark.parametrize("left", [0.0, 0.3, 1.0])
def test_shadow_models_find_the_offset_that_is_good_for_a_target(left):
    scores, trained = planted(7, 14, 3000, left=left)
    a = calibrated(scores[1:], trained[1:])
    assert a in [i / 10 for i in range(11)]

    def told(a):
        ratio = offline_ratio(scores[1:], trained[1:], scores[0], a=a)
        return auc(ratio[trained[0]], ratio[~trained[0]]).value

    found = [told(i / 10) for i in range(11)]
    assert told(a) >= max(found) - 0.005


def test_certainty_gained_by_training_is_found_online_and_offline():
    scores, trained = planted(8, 17, 3000, left=0.4)
    given = scores[1:], trained[1:], scores[0]
    by_confidence = auc(scores[0][trained[0]], scores[0][~trained[0]]).value
    for ratio in (online_ratio(*given), offline_ratio(*given, a=calibrated(*given[:2]))):
        assert auc(ratio[trained[0]], ratio[~trained[0]]).value > by_confidence + 0.05


def test_one_shadow_model_cannot_be_told_by_others():
    scores, trained, _ = confident(9)
    with pytest.raises(ValueError, match="no shadow model"):
        calibrated(scores[:1], trained[:1])
    with pytest.raises(ValueError, match="no shadow model"):
        calibrated(scores[:2], trained[:2])
