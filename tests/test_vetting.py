"""Held-out samples that were trained on, or are shown otherwise, are noticed before probes run."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Outcome, Request, split
from expunge.metric import Trial
from expunge.observing import snapshot
from expunge.reserving import reserve
from expunge.vetting import SEEN, UNLIKE, vetted

TASK = Classification(attributes={"sign": lambda batch: (batch[0][:, 0] > 0).long()})


def drawn(n, seed):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 1] > 0).long())


def turned(data):
    x, y = data.tensors
    return TensorDataset(x.flip(1), y)


def both(train, validation, test):
    """What is found of the samples, for a model that answers rightly those it knows."""
    request = Request(Attribute("sign"))
    parts = split(train, request, validation=validation, test=test)
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, -9, 0, 0], [0, 9, 0, 0]]))
        model.bias.zero_()
    seen = snapshot(model, parts, TASK)
    outcome = Outcome.of(model, model, parts, task=TASK)
    held = reserve(parts, TASK, ["sign"])
    return {m.name: m for m in vetted(Trial(outcome, seen, seen, None), held)}


def test_samples_that_nobody_saw_and_that_are_alike_pass():
    found = both(drawn(90, 0), drawn(80, 1), drawn(170, 2))
    assert found[SEEN].value == 0
    assert found[SEEN].n == 250
    low, high = found[UNLIKE].interval
    assert low < 0 < high
    assert high < found[UNLIKE].floor


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_held_out_samples_that_were_trained_on_are_counted(share):
    train, test = drawn(90, 0), drawn(60, 1)
    test.tensors[0][: int(60 * share)] = train.tensors[0][: int(60 * share)]
    assert both(train, None, test)[SEEN].value == pytest.approx(share)


def test_validation_samples_that_are_shown_otherwise_are_noticed():
    found = both(drawn(90, 0), turned(drawn(80, 1)), drawn(170, 2))[UNLIKE]
    assert found.interval[1] < -found.floor
    assert "100.0%" in found.note
    assert UNLIKE not in both(drawn(90, 0), None, drawn(170, 2))


def test_what_must_be_read_one_by_one_is_said_not_to_have_been_compared():
    class Slow(torch.utils.data.Dataset):
        kept = drawn(60, 1)

        def __len__(self):
            return 60

        def __getitem__(self, k):
            return self.kept[k]

    found = both(drawn(90, 0), None, Slow())[SEEN]
    assert found.value is None
    assert "sample by sample" in found.note
