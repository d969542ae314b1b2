"""Features that hardly vary, are told twice, or lie far from zero: all are erased from."""

import pytest
import torch
from torch.nn import functional as F

from expunge.algebra.erasure import columns, erase
from expunge.algebra.information import Prior

N, D, K, C = 900, 7, 3, 2  # samples, features, groups and classes of the world


def beside(*units):
    return torch.cat(units, 1)


def few(x):
    """A unit that five samples make vary."""
    return F.one_hot(torch.arange(N), N)[:, :5].sum(1, keepdim=True) * x[:, :1]


def nearly(z):
    """Units that tell groups, and are all but one."""
    noise = torch.randn(N, 2, generator=torch.Generator().manual_seed(4))
    return (8 + columns(z, K)[:, :2] + noise).tanh()


HARD = {
    "as they come": lambda x, _: x,
    "units that never vary": lambda x, _: beside(x, torch.tensor([0, 0.3, -1e4]).expand(N, 3)),
    "units twice": lambda x, _: beside(x, x, x[:, :2].relu()),
    "sums of units": lambda x, _: beside(x, x[:, :2] - x[:, 2:4], x.mean(1, keepdim=True)),
    "units of all sizes": lambda x, _: x * 10.0 ** torch.arange(-3, 4),
    "units that tell the attribute and no more": lambda x, z: beside(
        x, columns(z, K), 0.1 + 0.7 * z[:, None]
    ),
    "units that a few samples make vary": lambda x, _: beside(x, few(x)),
    "units that saturate": lambda x, z: beside(x, nearly(z), (3 * nearly(z)).tanh()),
    "units far from zero": lambda x, _: x + 1e4,
    "nothing that varies": lambda *_: torch.full((N, D), 0.1).double(),
}
"""Features as networks make them, each hard to erase from in its own way."""

hardships = pytest.mark.parametrize("hardship", HARD)
precise = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@hardships
@precise
def test_a_probe_that_scales_what_it_reads_finds_no_more_than_the_frequencies(
    world, counted, logistic, way, hardship, dtype
):
    x, z, _ = world
    x = HARD[hardship](x, z).to(dtype)
    edit = way(counted(x, z))
    after, entropy = edit(x), Prior.of(z, z * 0, groups=K).entropy
    assert after.dtype == dtype
    assert edit.lost == (K - 1 if hardship != "nothing that varies" else 0)
    assert logistic(after, z, strength=10.0)[0] > entropy - 1e-5
    if edit.lost:
        assert logistic(x, z, strength=10.0)[0] < entropy - 0.2


@hardships
@precise
def test_inside_each_class_it_finds_none_either(world, counted, logistic, way, hardship, dtype):
    x, z, y = world
    x = HARD[hardship](x, z).to(dtype)
    after = way(counted(x, z, y))(x)
    for mine in (y == 0, y == 1):
        entropy = Prior.of(z[mine], z[mine] * 0, groups=K).entropy
        assert logistic(after[mine], z[mine], strength=10.0)[0] > entropy - 1e-5


def test_what_never_varies_is_the_same_for_everybody_to_the_last_digit(world, counted, way):
    x, z, y = world
    still = torch.tensor([0, 0.1, -1e4, 1e-30]).double()
    after = way(counted(torch.cat([x, still.expand(N, 4)], 1), z, y))(
        torch.cat([x, still.expand(N, 4)], 1)
    )
    assert torch.equal(after[:, D:], still.expand(N, 4))


def test_what_varies_between_classes_alone_is_left_as_it_is(world, counted, way):
    x, z, y = world
    x = torch.cat([x, 0.1 + y[:, None]], 1)
    assert torch.equal(way(counted(x, z, y))(x)[:, D], x[:, D])


def test_sums_with_features_held_are_the_sums_of_held_features(world, counted):
    x, z, y = world
    held = torch.arange(D) % 3 == 1
    found = counted(x, z, y)
    found.hold(held)
    want = counted(torch.where(held, x.mean(0), x), z, y)
    for name in ("mean", "within", "shared", "varies", "constant"):
        torch.testing.assert_close(getattr(found, name), getattr(want, name), atol=1e-12, rtol=1e-9)
    after = erase(found)(x)
    torch.testing.assert_close(after, erase(want)(torch.where(held, x.mean(0), x)))
    assert bool((after[:, held] == after[0, held]).all())


def test_even_what_hardly_varies_is_erased(world, counted, covariance):
    """A tiny feature can be blown up by a probe, so that it is no safe place for an attribute."""
    x, z, _ = world
    x[:, 3:] *= 1e-9
    after = erase(counted(x, z))(x)
    assert (covariance(after, columns(z, K))[3:] / 1e-9).abs().max() < 1e-12
