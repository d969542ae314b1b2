"""Amnesiac: the updates of tainted batches, summed by a plain loop, are what is taken off."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader, TensorDataset

from expunge import Classification, Request, Samples, split
from expunge.errors import HistoryDoesNotFit
from expunge.methods.amnesiac import Amnesiac
from expunge.recording import record
from expunge.unlearning import seeded, unlearn

N, GONE = 23, (3, 4, 17)


def trained(folder, make=lambda p: SGD(p, lr=0.2, momentum=0.6, weight_decay=0.01), **tape):
    """A model, its data, and what every step with a forgotten sample did to it."""
    with seeded(0):
        x = torch.randn(N, 5)
        data, model = TensorDataset(x, x[:, :3].argmax(1), torch.arange(N)), nn.Linear(5, 3)
    optimizer, undone = make(model.parameters()), []
    with record(model, optimizer, to=folder, **tape) as watching:
        for _ in range(3):
            for a, b, ids in watching.watch(DataLoader(data, batch_size=4)):
                before = model.weight.detach().clone()
                optimizer.zero_grad()
                F.cross_entropy(model(a), b).backward()
                optimizer.step()
                if set(GONE) & set(ids.tolist()):
                    undone.append(model.weight.detach() - before)
    return data, model.eval(), undone


def unlearned(data, model, folder, **settings):
    parts = split(data, Request(Samples(GONE)), test=data)
    return unlearn(model, parts, Amnesiac(folder, **settings), task=Classification())


def test_the_updates_of_batches_with_forgotten_samples_are_taken_off(tmp_path):
    data, model, undone = trained(tmp_path / "history", gradients="fp32")
    outcome = unlearned(data, model, tmp_path / "history", repair=0)
    assert len(undone) == 9
    torch.testing.assert_close(outcome.after.weight.detach(), model.weight.detach() - sum(undone))
    assert outcome.notes[-1] == "9 of 18 recorded steps were taken back"


def test_the_repair_learns_from_what_remains(tmp_path):
    data, model, _ = trained(tmp_path / "history", gradients="fp32")
    x, y, ids = data.tensors
    kept = ~torch.isin(ids, torch.tensor(GONE))
    bare, mended = (unlearned(data, model, tmp_path / "history", repair=n).after for n in (0, 6))
    with torch.no_grad():
        losses = [F.cross_entropy(m(x[kept]), y[kept]) for m in (bare, mended)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("how", [{}, {"make": AdamW, "gradients": "fp32"}])
def test_a_history_that_tells_no_updates_is_refused(tmp_path, how):
    data, model, _ = trained(tmp_path / "history", **how)
    with pytest.raises(HistoryDoesNotFit, match="updates cannot be told"):
        unlearned(data, model, tmp_path / "history")
