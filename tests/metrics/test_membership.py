"""Several requests in one split: one that cannot be measured silences no other."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classification, Outcome, Request, Samples, audit, split
from expunge.attacks.threshold import Threshold
from expunge.metrics.membership import Membership


def test_a_request_that_cannot_be_measured_says_why_and_silences_no_other():
    x, y = torch.randn(40, 6), torch.arange(40) % 4
    train, test = TensorDataset(x, y), TensorDataset(x, torch.arange(40) % 3)  # no class 3
    asked = [Request(Samples((0, 4, 5)), id="ann"), Request(Samples((3, 7)), id="bob")]
    model = nn.Linear(6, 4)
    parts = split(train, *asked, test=test)
    outcome = Outcome.of(model, model, parts, task=Classification())
    found = audit(outcome, [Membership(Threshold())])
    label = "membership AUC, threshold (loss)"
    assert found.measurement(f"{label}, request ann").value is not None
    for name in (label, f"{label}, request bob"):
        assert "no sample of class 3" in found.measurement(name).note
