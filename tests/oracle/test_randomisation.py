"""Tests by chance drawn again, against scipy's permutations and all outcomes of a few coins."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from expunge.algebra.randomisation import fresh_coins, sign_flip


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def tossed(seed, m):
    return torch.rand(m, generator=torch.Generator().manual_seed(seed)) < 0.5


@pytest.mark.parametrize("n", [2, 5, 6, 11])
def test_flipped_signs_give_scipys_exact_p(n):
    x = normal(n, n) + 0.7
    theirs = stats.permutation_test(
        (x.numpy(),),
        lambda x, axis: x.mean(axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip(x).p == pytest.approx(theirs.pvalue)
    assert sign_flip(x).seen == pytest.approx(x.mean().item())


def test_fewer_than_six_pairs_never_reach_five_percent():
    assert sign_flip(torch.arange(1.0, 6.0)).p == 2 / 2**5
    assert sign_flip(torch.arange(1.0, 7.0)).p == 2 / 2**6
    assert sign_flip(torch.full((10,), 0.1)).p == 2 / 2**10


def test_no_difference_is_no_surprise():
    assert sign_flip(torch.zeros(7)).p == 1
    assert sign_flip(torch.zeros(30)).p == 1


def test_drawn_signs_agree_with_all_of_them(monkeypatch):
    x = normal(2, 14) + 0.5
    exact = sign_flip(x).p
    monkeypatch.setattr("expunge.algebra.randomisation._EXACT", 0)
    drawn = sign_flip(x, draws=20_000).p
    assert drawn == pytest.approx(exact, abs=4 * (exact / 20_000) ** 0.5)


def test_flipped_signs_reject_no_more_often_than_they_say():
    p = torch.tensor([sign_flip(normal(seed, 9).sign() * normal(-seed, 9).exp()).p
                      for seed in range(1, 400)])  # fmt: skip
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).double().mean() <= level + 3 * (level * (1 - level) / 400) ** 0.5


@pytest.mark.parametrize("side", ["two", "greater"])
def test_fresh_coins_agree_with_all_outcomes_of_a_few(side):
    scores = (normal(3, 3, 8) * 2).round()
    coins = torch.tensor([True, False, True, True, False, False, True, False])
    scores[0] += 1.5 * coins

    def largest(fell):
        fell = torch.tensor(fell)
        if fell.all() or not fell.any():
            return 0.0
        apart = scores[:, fell, None] - scores[:, None, ~fell]
        above = (apart.sign().mean((1, 2)) / 2).tolist()
        return max(map(abs, above)) if side == "two" else max(above)

    seen = largest(coins.tolist())
    exact = sum(largest(fell) >= seen - 1e-12 for fell in product([True, False], repeat=8)) / 256
    found = fresh_coins(scores, coins, side=side, draws=20_000)
    assert found.seen == pytest.approx(seen)
    assert found.p == pytest.approx(exact, abs=4 * (exact / 20_000) ** 0.5 + 1e-3)


def test_under_coins_that_nobody_saw_p_is_uniform():
    """Attacks copy each other and canaries come in pairs; p does not mind."""
    p = []
    for seed in range(200):
        score = normal(seed, 2, 20).repeat(1, 2)
        scores = torch.cat([score, score[:1] ** 3, -score[1:]])
        p.append(fresh_coins(scores, tossed(seed + 1000, 40), draws=199, seed=seed).p)
    p = torch.tensor(p).double()
    assert stats.kstest(p.numpy(), "uniform").pvalue > 0.001
    for level in (0.05, 0.1, 0.3):
        assert (p <= level).double().mean() <= level + 3 * (level * (1 - level) / 200) ** 0.5


def test_only_the_order_of_each_attacks_scores_matters():
    scores, coins = normal(5, 4, 33), tossed(6, 33)
    changed = torch.stack([scores[0].exp(), scores[1] * 9 - 4, scores[2] ** 3, scores[3]])
    assert fresh_coins(scores, coins) == fresh_coins(changed, coins)


def test_coins_that_are_seen_surprise_as_much_as_the_draws_allow():
    coins = tossed(7, 60)
    scores = torch.stack([normal(8, 60), normal(9, 60) + 9 * coins])
    assert fresh_coins(scores, coins).p == 1 / 10_000
    assert fresh_coins(-scores, coins).p == 1 / 10_000
    assert fresh_coins(-scores[1:], coins, side="greater").p == 1
    assert fresh_coins(torch.zeros(2, 60), coins).p == 1


def test_more_blind_attacks_make_a_seeing_one_less_of_a_surprise():
    coins = tossed(10, 80)
    one = normal(11, 1, 80) + 0.6 * coins
    alone = fresh_coins(one, coins).p
    among = fresh_coins(torch.cat([one, normal(12, 60, 80)]), coins).p
    assert alone < 0.05
    assert among > 2 * alone


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fresh_coins(torch.full((1, 3), torch.nan), tossed(0, 3))
