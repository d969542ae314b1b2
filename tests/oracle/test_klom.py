"""Divergences of margins against numpy's histograms, closed forms and what models alike have."""

from math import log

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.algebra.klom import histogram_klom, normal_klom


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_histograms_are_those_of_numpy():
    u, r = normal(0, 37, 6) * 40, normal(1, 29, 6) * 30 + 10
    found = histogram_klom(u, r, bins=7)
    for j in range(6):
        a, b = (x[:, j].clamp(-100, 100).numpy() for x in (u, r))
        edges = np.histogram_bin_edges(np.concatenate([a, b]), 7)
        p, q = np.histogram(a, edges)[0] / 37, np.histogram(b, edges)[0] / 29
        q = np.where((p > 0) & (q < 1e-5), 1e-5, q)
        assert found[j].item() == pytest.approx(stats.entropy(p, q / q.sum()))


def test_models_with_the_same_margins_are_not_apart():
    u = normal(2, 23, 5)
    assert histogram_klom(u, u.flip(0)).tolist() == pytest.approx([0] * 5, abs=1e-12)
    assert normal_klom(u, u.flip(0)).tolist() == pytest.approx([0] * 5, abs=1e-12)
    same = torch.full((23, 1), 4.0)
    assert histogram_klom(same, same).item() == 0
    assert normal_klom(same, same).item() == 0


def test_models_with_nothing_in_common_are_as_far_as_can_be():
    near, far = normal(3, 50, 1) * 0.01, normal(4, 50, 1) * 0.01 + 50
    assert histogram_klom(near, far).item() == pytest.approx(log(1e5), abs=1e-4)
    assert log(1e5) == pytest.approx(11.5129, abs=1e-4)
    assert 1e3 < normal_klom(near, near * 0 + 50).item() < torch.inf


def test_no_divergence_is_negative():
    for seed in range(20):
        u, r = normal(seed, 9, 40), normal(100 + seed, 11, 40)
        assert histogram_klom(u, r).min() >= 0
        assert normal_klom(u, r).min() >= 0


def test_a_normal_divergence_is_that_of_torch():
    u, r = normal(5, 15, 4) * 2 + 1, normal(6, 12, 4) - 1
    wanted = torch.distributions.kl_divergence(
        torch.distributions.Normal(u.mean(0), u.std(0)),
        torch.distributions.Normal(r.mean(0), r.std(0)),
    )
    torch.testing.assert_close(normal_klom(u, r), wanted)


@pytest.mark.parametrize(
    ("models", "mean"), [(8, 6.4), (16, 3.8), (25, 2.3), (50, 0.89), (100, 0.36), (200, 0.15)]
)
def test_models_that_are_alike_have_the_histogram_divergence_of_the_table(models, mean):
    found = histogram_klom(normal(models, models, 2000), normal(-models, models, 2000))
    assert found.mean().item() == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize(("models", "mean"), [(8, 0.36), (16, 0.15), (50, 0.04)])
def test_models_that_are_alike_have_the_normal_divergence_of_the_table(models, mean):
    found = normal_klom(normal(models, models, 6000), normal(-models, models, 6000))
    assert found.mean().item() == pytest.approx(mean, rel=0.1, abs=0.004)


def test_a_hundred_models_show_a_shift_and_what_is_alike_by_its_tail():
    alike = histogram_klom(normal(7, 100, 2000), normal(8, 100, 2000))
    shifted = histogram_klom(normal(9, 100, 2000) + 1, normal(10, 100, 2000))
    assert alike.quantile(0.95).item() == pytest.approx(0.68, rel=0.1)
    assert shifted.mean().item() == pytest.approx(1.25, rel=0.1)
    assert normal_klom(normal(9, 100, 2000) + 1, normal(10, 100, 2000)).mean() < 0.6
