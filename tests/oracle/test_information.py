"""Bounds on what a critic knows, against channels and distributions whose information is known."""

from itertools import permutations
from math import log, log2

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from expunge.algebra.information import (
    Prior,
    clipped,
    known,
    normal_entropy,
    normal_surprise,
    normal_vclub,
    reverse,
    shuffled,
    surprise,
    vclub,
)

N, K, C = 11, 4, 3


def drawn(n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z, y = (torch.randint(many, (n,), generator=generator) for many in (K, C))
    return torch.randn(n, K, generator=generator), z, y


def prior(z, y):
    return Prior.of(z, y, groups=K, classes=C)


def slope(of, at):
    at = at.clone().requires_grad_()
    return torch.autograd.grad(of(at), at)[0]


def test_shares_are_counted_class_by_class():
    z = torch.tensor([0, 0, 1, 3, -1, 2, -1])
    y = torch.tensor([0, 0, 0, 0, 0, 2, 1])
    found = prior(z, y)
    assert found.shares(torch.tensor([0, 2])).tolist() == [[0.5, 0.25, 0, 0.25], [0, 0, 1, 0]]
    everywhere = [0.4, 0.2, 0.2, 0.2]  # nobody of class 1 is known
    assert found.shares(torch.tensor([1]))[0].tolist() == pytest.approx(everywhere)


def test_bets_are_distributions_and_think_nothing_impossible():
    z, y = torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0])
    told = prior(z, y).bets(torch.arange(C)).exp2()
    torch.testing.assert_close(told.sum(1), torch.ones(C).double())
    assert told.min() > 0


def test_bets_imagine_as_many_samples_as_let_each_sample_be_foretold_by_the_others():
    _, z, y = drawn(60)
    z = torch.where(y == 0, 0, z)
    amounts = [10 ** (power / 2) for power in range(-4, 9)]

    def shares(z, y, imagined):
        everywhere = z.bincount(minlength=K) + 0.5
        rows = [z[y == c].bincount(minlength=K) for c in range(C)]
        counts = torch.stack(rows) + imagined * everywhere / everywhere.sum()
        return counts / counts.sum(1, keepdim=True)

    def foretold(imagined):
        others = [torch.arange(60) != i for i in range(60)]
        told = [shares(z[o], y[o], imagined)[y[i], z[i]] for i, o in enumerate(others)]
        return torch.stack(told).log().sum()

    want = shares(z, y, max(amounts, key=foretold))
    torch.testing.assert_close(prior(z, y).bets(torch.arange(C)).exp2(), want.double())


def test_bets_leave_hardly_anything_to_gain_where_the_label_tells_all_or_nothing():
    y = torch.arange(40 * C) % C
    assert -prior(y, y).bets(y).gather(1, y[:, None]).mean() < 0.001
    told = prior((torch.arange(40 * C) // C) % K, y).bets(y)
    assert torch.allclose(told, torch.tensor(-log2(K)).double(), atol=0.001)


@pytest.mark.parametrize("classes", [1, C])
def test_the_entropy_is_that_of_the_frequencies(classes):
    _, z, y = drawn(200)
    y = y % classes
    found = Prior.of(z, y, groups=K, classes=classes).entropy
    want = sum(
        (y == c).double().mean().item() * stats.entropy(z[y == c].bincount(minlength=K).numpy())
        for c in range(classes)
    )
    assert found == pytest.approx(want)


def test_an_attribute_that_the_class_tells_has_no_entropy_left():
    y = torch.arange(20) % C
    assert prior(y, y).entropy == 0
    assert Prior.of(y, y * 0, groups=K).entropy == pytest.approx(log(C), abs=0.01)


def test_with_nobody_known_there_is_nothing_to_know_and_every_group_is_as_likely():
    found = prior(torch.full((5,), -1), torch.arange(5) % C)
    assert found.entropy == 0
    assert found.shares(torch.arange(C)).tolist() == [[1 / K] * K] * C


@pytest.mark.parametrize("sure", [0.0, 3.0])
def test_the_slope_of_vclub_is_the_true_group_less_the_shares_at_any_critic(sure):
    logits, z, y = drawn()
    shares = prior(z, y).shares(y)
    found = slope(lambda at: vclub(at, z, shares), sure * logits)
    torch.testing.assert_close(found, (F.one_hot(z, K) - shares) / N)


def test_vclub_is_what_a_loop_over_its_definition_says():
    logits, z, y = drawn()
    shares, told = prior(z, y).shares(y), logits.log_softmax(1)
    want = [told[i, z[i]] - sum(shares[i, k] * told[i, k] for k in range(K)) for i in range(N)]
    assert vclub(logits, z, shares).item() == pytest.approx(sum(want).item() / N, rel=1e-5)


def channel(wrong):
    """Two equally frequent groups seen through a channel that errs so often, in proportion."""
    z = torch.arange(1000) % 2
    seen = torch.where(torch.arange(1000) // 2 < 500 * wrong, 1 - z, z)
    critic = torch.tensor([[1 - wrong, wrong], [wrong, 1 - wrong]]).log()[seen]
    return critic, z, Prior.of(z, z * 0, groups=2)


def test_of_a_known_channel_the_right_critic_tells_the_information_and_vclub_no_less():
    wrong = 0.1
    critic, z, seen = channel(wrong)
    truth = log(2) + wrong * log(wrong) + (1 - wrong) * log(1 - wrong)
    assert clipped(surprise(critic, z), seen.entropy).item() == pytest.approx(truth, rel=1e-5)
    bound = vclub(critic, z, seen.shares(z * 0)).item()
    assert bound == pytest.approx((1 - 2 * wrong) * log((1 - wrong) / wrong) / 2, rel=1e-5)
    assert bound > truth


def test_the_push_ends_where_the_critic_knows_no_more_than_the_frequencies():
    _, z, y = drawn(300)
    entropy = prior(z, y).entropy
    wrong = F.one_hot((z + 1) % K, K).float()
    assert clipped(surprise(wrong, z), entropy).item() == 0
    assert not slope(lambda at: clipped(surprise(at, z), entropy), wrong).any()
    right = 3 * F.one_hot(z, K).float()
    found = slope(lambda at: clipped(surprise(at, z), entropy), right)
    torch.testing.assert_close(found, (F.one_hot(z, K) - right.softmax(1)) / 300)


def test_reversal_keeps_values_and_turns_slopes_round():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(reverse(x, 0.5), x)
    straight = slope(lambda at: at.sin().sum(), x)
    torch.testing.assert_close(slope(lambda at: reverse(at, 0.5).sin().sum(), x), -0.5 * straight)


@pytest.mark.parametrize("of", [surprise, vclub])
def test_missing_groups_have_no_part(of):
    logits, z, y = drawn()
    rest = (prior(z, y).shares(y),) if of is vclub else ()
    some = torch.where(torch.arange(N) % 3 == 1, -1, z)
    seen = some >= 0
    whole = of(logits[seen], z[seen], *(each[seen] for each in rest))
    torch.testing.assert_close(of(logits, some, *rest), whole)
    assert not slope(lambda at: of(at, some, *rest), logits)[~seen].any()
    assert of(logits, z * 0 - 1, *rest).item() == 0


def numbers(n=N):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, n, generator=generator).unbind()


def test_a_normal_critic_is_surprised_by_its_density():
    mean, log_variance, z = numbers()
    want = stats.norm.logpdf(z, mean, (log_variance / 2).exp()).mean()
    assert normal_surprise(mean, log_variance, z).item() == pytest.approx(-want, rel=1e-5)


def test_who_knows_the_variance_alone_is_surprised_by_the_normal_entropy():
    z = numbers()[2]
    z = (z - z.mean()) / z.std(correction=0) * 3 + 7
    plain = normal_surprise(torch.full((N,), 7.0), torch.full((N,), log(9.0)), z)
    assert plain.item() == pytest.approx(normal_entropy(9.0), rel=1e-5)
    assert normal_entropy(9.0) == pytest.approx(stats.norm.entropy(scale=3))


def test_over_all_orders_the_bound_for_numbers_is_that_of_all_pairs():
    mean, log_variance, z = (each[:5] for each in numbers())
    found = [
        normal_vclub(mean, log_variance, z, torch.tensor(order)).item()
        for order in permutations(range(5))
    ]
    scale = (log_variance / 2).exp()[:, None]
    pairs = torch.distributions.Normal(mean[:, None], scale).log_prob(z[None])
    want = (pairs.diag() - pairs.mean(1)).mean().item()
    assert sum(found) / len(found) == pytest.approx(want, rel=1e-5)


def test_of_two_normal_numbers_the_right_critic_bounds_the_information():
    rho, n = 0.6, 40_000
    generator = torch.Generator().manual_seed(3)
    h, noise = torch.randn(2, n, generator=generator).double()
    z = rho * h + (1 - rho**2) ** 0.5 * noise
    spread = torch.full_like(z, log(1 - rho**2))
    bound = normal_vclub(rho * h, spread, z, shuffled(torch.zeros(n).long(), generator)).item()
    assert bound == pytest.approx(rho**2 / (1 - rho**2), abs=0.02)
    lower = clipped(normal_surprise(rho * h, spread, z), normal_entropy(1.0)).item()
    assert lower == pytest.approx(-log(1 - rho**2) / 2, abs=0.01)


def test_missing_numbers_spoil_no_slope():
    mean, log_variance, z = numbers()
    some = z.clone()
    some[4] = torch.nan
    assert known(some).sum() == N - 1
    order = torch.arange(N).roll(1)
    for of in (normal_surprise, lambda *all_: normal_vclub(*all_, order)):
        found = slope(lambda at, of=of: of(at, log_variance, some), mean)
        assert found.isfinite().all()
        assert found[4] == 0
    rest = torch.arange(N) != 4
    want = normal_surprise(mean[rest], log_variance[rest], z[rest])
    torch.testing.assert_close(normal_surprise(mean, log_variance, some), want)
    told = stats.norm(mean, (log_variance / 2).exp())
    pairs = (told.logpdf(z) - told.logpdf(z[order]))[(rest & rest[order]).numpy()]
    assert normal_vclub(mean, log_variance, some, order).item() == pytest.approx(
        pairs.mean(), rel=1e-5
    )


def test_shuffling_stays_inside_the_class_and_misses_nobody():
    _, _, y = drawn(300)
    order = shuffled(y, torch.Generator().manual_seed(4))
    assert torch.equal(y[order], y)
    assert torch.equal(order.sort().values, torch.arange(300))
    assert (order == torch.arange(300)).sum() < 20
    again = shuffled(y, torch.Generator().manual_seed(5))
    assert not torch.equal(order, again)
