"""Features that hardly vary: how many samples their variance comes from."""

import pytest
import torch

from expunge.erasing.tallying import Tally


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_support_of_a_variance_is_the_number_of_samples_that_it_comes_from(offset):
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(4000, 5).double()
    x[:9, 0] = 3
    x[::2, 1] = -1
    x[:, 2] = torch.randn(4000, generator=generator)
    x[7, 3] = 1e-3
    tally = Tally()
    for rows in (x + offset).split(1100):
        tally.add(rows, torch.zeros(len(rows), 1), torch.zeros(len(rows), dtype=torch.long))
    want = torch.tensor([9, 4000, 4000 / 3, 1, 0]).double()
    torch.testing.assert_close(tally.support, want, rtol=0.1, atol=0.0)


def counted(x):
    tally = Tally()
    tally.add(x, torch.zeros(len(x), 1), torch.zeros(len(x), dtype=torch.long))
    return tally


@pytest.mark.parametrize(("count", "least"), [(900, 20), (300, 15), (40, 2)])
def test_rare_is_what_too_few_samples_make_vary_or_too_small_a_share_of_few(count, least):
    x = torch.zeros(count, 4).double()
    x[: least + 1, 0] = 1
    x[: 3 * least // 4, 1] = 1
    x[::2, 2] = 1
    assert counted(x).rare(20).tolist() == [False, True, False, True]
    assert not counted(x).rare(0).any()


def test_where_all_would_be_rare_none_is():
    x = torch.eye(300).double()[:, :7]
    assert not counted(x).rare(20).any()
