"""What CODEC and FOCI accept, refuse and repeat."""

from itertools import pairwise

import pytest
import torch

from expunge.algebra import dependence
from expunge.algebra.dependence import codec, foci
from expunge.errors import BadSetting


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def continuous(n, p, seed):
    x = torch.randn(n, p, generator=drawn(seed), dtype=torch.double)
    return x, x[:, 0] * x[:, 1] + x[:, 2].abs()


def binary(n, p, seed):
    x = torch.randint(0, 2, (n, p), generator=drawn(seed)).double()
    return x, torch.where(x[:, 3] > 0, x[:, 0], x[:, 1])


def test_no_more_features_are_chosen_than_asked_for():
    x, y = continuous(150, 8, 2)
    whole = foci(x, y)
    for most in range(1, 10):
        found = foci(x, y, max_features=most)
        assert found.selected == whole.selected[:most]
        assert found.scores == whole.scores[:most]


@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_the_same_generator_gives_the_same_answer_and_another_one_another(jitter):
    x, y = binary(80, 6, 1)
    found = [foci(x, y, jitter=jitter, generator=drawn(seed)) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]
    values = [codec(y, x[:, 1], jitter=jitter, generator=drawn(seed)) for seed in (3, 3, 4)]
    assert values[0] == values[1] != values[2]


def test_jitter_breaks_ties_and_hides_what_is_finer_than_itself():
    y = torch.randn(600, generator=drawn(0), dtype=torch.double)
    told = [codec(y, y, jitter=sigma, generator=drawn(1)) for sigma in (0.0, 0.01, 0.5, 50.0)]
    assert all(a > b for a, b in pairwise(told))
    assert told[0] > 0.98
    assert told[3] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_numbers_of_any_precision_are_read_as_they_are(dtype):
    x, y = (part.to(dtype) for part in continuous(100, 5, 0))
    assert foci(x, y, generator=drawn(1)) == foci(x.double(), y.double(), generator=drawn(1))
    assert codec(y, x, generator=drawn(2)) == codec(y.double(), x.double(), generator=drawn(2))


def test_what_requires_a_gradient_can_be_asked_about_and_stays_as_it_was():
    x, y = continuous(50, 4, 0)
    kept = x.clone()
    assert foci(x.requires_grad_(), y) == foci(kept, y)
    assert x.equal(kept)


def test_three_rows_are_enough_and_two_are_not():
    y = torch.tensor([1.0, 2.0, 4.0])
    z = torch.tensor([0.0, 0.1, 5.0])
    assert codec(y, z) == pytest.approx((3 * (1 + 1 + 2) - (9 + 4 + 1)) / (0 + 2 + 2))
    assert foci(z[:, None], y).selected == (0,)
    with pytest.raises(BadSetting, match="2 rows are too few"):
        codec(y[:2], z[:2])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -1e200])
def test_numbers_that_have_no_distance_are_refused(bad):
    x, y = continuous(20, 3, 0)
    broken = x.clone()
    broken[4, 2] = bad
    with pytest.raises(BadSetting, match="1 numbers are not finite"):
        foci(broken, y)
    with pytest.raises(BadSetting, match="not finite"):
        codec(y, x, broken)
    with pytest.raises(BadSetting, match="not finite"):
        codec(broken[:, 2], x)


def test_a_row_more_in_one_variable_is_refused():
    y, x = torch.randn(9), torch.randn(10, 2)
    with pytest.raises(BadSetting, match="the variables have 9, 10 rows"):
        dependence._read([y, x], 0.0, None)  # shapes of public functions are checked in tests


def test_an_outcome_that_never_changes_is_refused():
    with pytest.raises(BadSetting, match="y is 3 in all 9 rows"):
        foci(torch.randn(9, 2), torch.full((9,), 3.0), jitter=0.1)


@pytest.mark.parametrize("most", [0, -1])
def test_at_least_one_feature_is_asked_for(most):
    with pytest.raises(BadSetting, match=f"{most} of 2 features"):
        foci(torch.randn(9, 2), torch.randn(9), max_features=most)


@pytest.mark.parametrize("jitter", [-0.1, torch.nan, torch.inf])
def test_jitter_is_a_deviation(jitter):
    with pytest.raises(BadSetting, match="jitter"):
        codec(torch.randn(9), torch.randn(9), jitter=jitter)
