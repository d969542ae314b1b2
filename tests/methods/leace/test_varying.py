"""Features that hardly vary must not be the ones in which a trace of the attribute shows."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

N, C, K = 310, 2, 3  # samples, classes and groups of the toy
NOTHING = {"condition_on": "nothing"}


def scaled(x):
    """As a probe reads that scales whatever varies at all."""
    apart = x - x.mean(0)
    return apart / apart.std(0).where(apart.std(0) > 0, 1.0)


@pytest.mark.parametrize("rare", [0, 20])
def test_a_feature_that_never_varies_gets_no_trace_of_the_attribute(toy, rare):
    x, y, z = toy.drawn()
    x[:, 4] = 0
    x[:, 5] = 0.1
    data = TensorDataset(x, y, z)
    after = toy.outcome(data=data, model=toy.identity(), rare=rare).after[1].before(x)
    assert (after[:, 4:6] == x[:, 4:6]).all()
    for k in range(C):
        mine = scaled(after[y == k])
        assert toy.covariance(mine, F.one_hot(z[y == k], K).double()) < 1e-12


def test_a_feature_that_never_varies_inside_classes_gets_none_either(toy):
    x, y, z = toy.drawn()
    x[:, 4] = y
    after = toy.outcome(data=TensorDataset(x, y, z), model=toy.identity()).after[1].before(x)
    assert torch.equal(after[:, 4], y.double())


def test_a_feature_that_a_few_samples_make_vary_would_show_the_attribute_in_all_others(toy):
    x, y, z = toy.drawn()
    x[:, 4] = 0
    few = (z == 0).nonzero()[:5, 0]
    x[few, 4] = 0.1
    others = torch.ones(N, dtype=torch.bool)
    others[few] = False
    data = TensorDataset(x, y, z)
    shown = toy.outcome(data=data, model=toy.identity(), rare=0, **NOTHING).after[1].before(x)
    both = torch.stack([shown[others, 4], (z[others] == 0).double()])
    assert torch.corrcoef(both)[0, 1].abs() > 0.6
    found = toy.outcome(data=data, model=toy.identity(), rare=6, **NOTHING)
    torch.testing.assert_close(found.after[1].before(x)[:, 4], x[:, 4].mean().expand(N))
    assert found.notes[1].endswith("in too few samples, and are held at their means: 1")
    kept = toy.outcome(data=data, model=toy.identity(), rare=3, **NOTHING)
    assert "held" not in kept.notes[1]
