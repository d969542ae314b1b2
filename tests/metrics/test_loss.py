import json
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Outcome, Regression, Request, Samples, split
from expunge.metric import Trial
from expunge.metrics.loss import Loss
from expunge.observing import Observation, Snapshot


def seen(losses):
    """Answers whose squared errors are these."""
    errors = torch.tensor(losses, dtype=torch.double).sqrt()[:, None]
    return Observation(torch.arange(len(losses)), errors.float(), torch.zeros(len(losses), 1),
                       "regression")  # fmt: skip


def trial(forget, test=(0.2, 0.2, 2.0, 20.0)):
    x = torch.randn(7, 3)
    data = TensorDataset(x, torch.zeros(7, 1))
    parts = split(data, Request(Samples((1,))), test=data)
    model = nn.Linear(3, 1)
    snapshot = Snapshot(seen(forget), seen([0.1, 0.1]), seen(test))
    return Trial(Outcome.of(model, model, parts, task=Regression()), snapshot, snapshot)


def exhibit(found):
    return next(Loss().measure(found)).exhibit


def test_a_histogram_holds_the_share_of_each_bin():
    columns = exhibit(trial([0.02, 0.02, 0.05, 0.2, 2.0])).columns
    shares = defaultdict(dict)
    for edge, share, samples, model in zip(*columns.values(), strict=True):
        shares[model, samples][edge] = share
    want = {"0.01": 0.4, "0.03": 0.2, "0.1": 0.2, "0.3": 0.0, "1": 0.2, "3": 0.0, "10": 0.0}
    for model in ("original", "unlearned"):
        assert shares[model, "forgotten"] == pytest.approx(want)
        assert shares[model, "unseen"]["0.1"] == 0.5
        assert sum(shares[model, "unseen"].values()) == pytest.approx(1)


def test_tiny_losses_share_one_bin_and_wide_ranges_take_whole_powers_of_ten():
    columns = exhibit(trial([0.0, 1e-30, 1e-9, 5.0, 1e4])).columns
    labels = list(dict.fromkeys(columns["loss"]))
    assert labels[0] == "0.000001"
    assert labels[-1] == "1000"
    assert columns["share"][0] == 0.6


def test_equal_losses_are_one_bin():
    columns = exhibit(trial([0.25] * 6, (0.25, 0.25))).columns
    assert set(columns["share"]) == {1.0}


def test_a_histogram_of_few_samples_is_not_shown():
    assert exhibit(trial([0.1, 0.2, 0.3, 0.4])) is None


def test_a_histogram_does_not_depend_on_the_order_of_samples():
    forward = exhibit(trial([0.02, 0.02, 0.05, 0.2, 2.0]))
    backward = exhibit(trial([2.0, 0.2, 0.05, 0.02, 0.02]))
    assert json.dumps(dict(forward.columns)) == json.dumps(dict(backward.columns))
