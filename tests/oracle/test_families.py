"""Families of probes against other people's code, and in worlds where what can be read is known."""

from math import log2

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from expunge.algebra.families import FAMILIES, boosted, linear, neighbours
from expunge.algebra.gains import bits, interval
from expunge.algebra.guessing import Asked, blind, hedge, hedged, mixed, price, prices
from expunge.algebra.information import Prior
from expunge.algebra.perceptrons import fit
from expunge.algebra.softmax import solutions

K, D, C = 3, 6, 2
LIGHT = {
    "linear": linear,
    "MLP": lambda *parts: fit(*parts, width=48, copies=2, rounds=10),
    "k-NN": neighbours,
    "boosted trees": lambda *parts: boosted(*parts, stages=15),
}
EVERY = pytest.mark.parametrize("family", LIGHT.values(), ids=LIGHT)
"""Every family, smaller than in earnest."""


def parted(x, z, y=None, sizes=(700, 300), classes=1):
    """What a probe learns from, what it chooses by, and what it is asked."""
    y = z * 0 if y is None else y
    prior = Prior.of(z[: sizes[0]], y[: sizes[0]], groups=K, classes=classes)
    asked, rows = Asked.of(x, z, y, prior), torch.arange(len(z))
    return [asked.only(rows[rows_of]) for rows_of in _slices(*sizes, len(z))]


def _slices(first, second, n):
    return slice(0, first), slice(first, first + second), slice(first + second, n)


def noisy(n=1600, wrong=0.2, seed=0):
    """Features that name the group but for a share of the samples, among others that do not."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(K, (n,), generator=generator)
    other = (z + torch.randint(1, K, (n,), generator=generator)) % K
    seen = torch.where(torch.rand(n, generator=generator) < wrong, other, z)
    rest = torch.randn(n, D - K, generator=generator)
    return torch.cat([4 * F.one_hot(seen, K).float(), 0.3 * rest], 1), z


def test_every_family_has_a_light_twin_here():
    assert [*FAMILIES] == [*LIGHT]


@pytest.mark.parametrize("penalty", [1e-3, 0.3])
def test_softmax_regression_is_scikit_learns(penalty):
    x, z = noisy(130)
    uniform = _bet(x, z, torch.full((130, K), -log2(K)))
    rows = StandardScaler().fit_transform(x.double().numpy())
    theirs = LogisticRegression(C=1 / (penalty * 130), tol=1e-10, max_iter=2000)
    want = theirs.fit(rows, z.numpy()).predict_log_proba(rows)
    *_, found = solutions(uniform, (10.0, penalty))
    torch.testing.assert_close(
        found(uniform) / log2(torch.e), torch.from_numpy(want), atol=1e-4, rtol=0
    )


def test_bets_that_know_all_leave_softmax_regression_nothing_to_learn():
    x, z = noisy(130)
    (plain,) = solutions(_bet(x, z, torch.full((130, K), -log2(K))), (1e-2,))
    (found,) = solutions(_bet(x, z, (0.999 * F.one_hot(z, K) + 0.001 / K).log2()), (1e-2,))
    assert found.weights.norm() < 0.05 * plain.weights.norm()


def _bet(x, z, bets):
    return Asked(x, z, bets.double(), torch.ones(len(z), 1).double())


@EVERY
def test_the_bits_of_a_known_channel_are_found_by_guesses_that_exclude_nothing(family):
    wrong = 0.2
    known, aside, asked = parted(*noisy(wrong=wrong))
    told = family(known, aside)(asked)
    torch.testing.assert_close(told.double().exp2().sum(1), torch.ones(len(asked)).double())
    assert told.isfinite().all()
    truth = log2(K) + (1 - wrong) * log2(1 - wrong) + wrong * log2(wrong / (K - 1))
    found = interval(bits(told, asked))
    assert found.low < truth < found.high
    assert found.value == pytest.approx(truth, abs=0.12)


@EVERY
def test_the_same_samples_give_the_same_guess(family):
    known, aside, asked = parted(*noisy(90), sizes=(40, 20))
    state = torch.random.get_rng_state()
    assert torch.equal(family(known, aside)(asked), family(known, aside)(asked))
    assert torch.equal(torch.random.get_rng_state(), state)


@EVERY
def test_of_independent_features_nothing_is_made(family):
    x, z = noisy()
    known, aside, asked = parted(x[torch.randperm(1600, generator=_seeded(1))], z)
    gain = bits(family(known, aside)(asked), asked)
    assert gain.mean().item() == pytest.approx(0, abs=0.02)


def _seeded(seed):
    return torch.Generator().manual_seed(seed)


@EVERY
def test_an_attribute_that_is_a_function_of_the_class_has_no_conditional_bits(family):
    x, z = noisy()
    known, aside, asked = parted(x, z, z, classes=K)
    assert bits(family(known, aside)(asked), asked).mean().item() == pytest.approx(0, abs=0.01)


@EVERY
def test_conditional_bits_are_those_beyond_the_class(family):
    """The class tells part of the group; features repeat the class, and tell the rest by chance."""
    generator, n = _seeded(2), 1600
    y = torch.randint(C, (n,), generator=generator)
    rest = (torch.rand(n, generator=generator) < 0.3).long()
    z = torch.where(y == 0, rest, 1 + rest)
    parts = parted(
        3 * torch.stack([y, y * 0], 1) + 0.1 * torch.randn(n, 2, generator=generator),
        z,
        y,
        classes=C,
    )
    assert bits(family(*parts[:2])(parts[2]), parts[2]).mean().item() == pytest.approx(0, abs=0.02)
    parts = parted(3 * torch.stack([y, rest], 1).float(), z, y, classes=C)
    truth = -0.3 * log2(0.3) - 0.7 * log2(0.7)
    gain = bits(family(*parts[:2])(parts[2]), parts[2]).mean().item()
    assert gain == pytest.approx(truth, abs=0.05)


@EVERY
def test_what_classes_show_by_opposite_signs_is_read(family):
    generator, n = _seeded(3), 1600
    x, y = torch.randn(n, D, generator=generator), torch.arange(n) % C
    z = (x[:, 0] * (2 * y - 1) > 0).long()
    parts = parted(x, z, y, classes=C)
    assert bits(family(*parts[:2])(parts[2]), parts[2]).mean() > 0.5


def test_parity_is_chance_to_a_plane_and_plain_to_networks():
    x = torch.randn(1600, 3, generator=_seeded(4))
    x[:, :2] = x[:, :2].sign() + 0.1 * x[:, :2]
    parts = parted(x, (x[:, 0] * x[:, 1] > 0).long())
    plane, curved = (bits(f(*parts[:2])(parts[2]), parts[2]).mean() for f in (linear, LIGHT["MLP"]))
    assert abs(plane) < 0.02
    assert curved > 0.6


@EVERY
@pytest.mark.parametrize("groups_known", [1, 2])
def test_groups_that_were_never_seen_are_not_thought_impossible(family, groups_known):
    x, z = noisy(400)
    z[:300] %= groups_known
    known, aside, asked = parted(x, z, sizes=(200, 100))
    assert prices(family(known, aside)(asked), asked).isfinite().all()


@EVERY
def test_a_class_without_samples_to_learn_from_is_guessed_by_the_rest(family):
    x, z = noisy(900)
    y = (torch.arange(900) >= 800).long()
    known, aside, asked = parted(x, z, y, sizes=(500, 200), classes=C)
    told = family(known, aside)(asked)
    assert told.isfinite().all()
    assert price(lambda _: told, asked) <= price(blind, asked) + 0.02


def test_a_penalty_is_chosen_by_the_samples_set_aside():
    known, aside, asked = parted(*noisy())
    wrong = Asked(aside.x, (aside.z + 1) % K, aside.bets, aside.inside)
    assert torch.equal(linear(known, wrong)(asked), asked.bets)
    assert price(linear(known, aside), asked) < price(blind, asked) - 0.5


def test_a_small_class_has_no_hyperplanes_of_its_own(monkeypatch):
    """Each class shows the group by a sign of its own; shared hyperplanes can tell only one."""
    generator, n = _seeded(6), 480
    x, y = torch.randn(n, D, generator=generator), (torch.arange(n) % 4 == 0).long()
    parts = parted(x, (x[:, 0] * (1 - 2 * y) > 0).long(), y, sizes=(240, 160), classes=C)
    gains = []
    for enough in (41, 40):  # of the second class there are 40 to choose by
        monkeypatch.setattr("expunge.algebra.families._ENOUGH", enough)
        gain = bits(linear(*parts[:2])(parts[2]), parts[2])
        gains.append(gain[parts[2].inside[:, 1] > 0].mean().item())
    assert gains[0] < 0 < 0.5 < gains[1]


def test_in_many_small_classes_hyperplanes_find_nothing_where_nothing_is():
    """Ten classes of sixteen to choose by, as ten digits have them."""
    found = []
    for seed in range(5):
        x, z = torch.randn(900, 20, generator=_seeded(seed)), torch.arange(900) % K
        y = torch.randperm(900, generator=_seeded(seed)) % 10
        parts = parted(x, z, y, sizes=(400, 160), classes=10)
        found.append(bits(linear(*parts[:2])(parts[2]), parts[2]).mean().item())
    assert all(abs(each) < 0.02 for each in found)


def guesses(surely, n=1000):
    """Guesses of two groups that are right but for one in a hundred, and as sure as that."""
    z = torch.arange(n) % 2
    said = torch.where(torch.arange(n) % 100 == 0, 1 - z, z)
    sure = torch.tensor([surely, 1 - surely]).double()
    told = torch.where(said[:, None] == torch.arange(2), sure[0], sure[1]).log2()
    bets = torch.full((n, 2), -1.0).double()
    return told, Asked(torch.zeros(n, 1), z, bets, torch.ones(n, 1).double())


def test_a_guess_that_is_sure_and_wrong_is_hedged():
    reckless, fair = (guesses(surely) for surely in (1 - 1e-300, 0.99))
    assert bits(*reckless).mean() < -5  # although 99 of 100 are right
    told = hedged(lambda _: reckless[0], reckless[1])(reckless[1])
    truth = bits(*fair).mean().item()
    assert bits(told, reckless[1]).mean().item() == pytest.approx(truth, abs=0.02)
    assert told.exp2().sum(1).allclose(torch.ones(1000).double())


def test_a_guess_that_is_good_for_nothing_is_half_bets_and_one_like_the_bets_is_the_bets():
    told, asked = guesses(0.99)
    wrong = Asked(asked.x, 1 - asked.z, asked.bets, asked.inside)
    assert hedge(told, wrong) == 0.5
    assert mixed(told, wrong, 0.5).exp2().max() < 0.76
    assert torch.equal(mixed(asked.bets + 1e-9, asked, 0.002), asked.bets)
