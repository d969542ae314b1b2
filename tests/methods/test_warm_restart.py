"""Warm restart: from a model that had not seen the forgotten, trained as the recipe trains."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from expunge import Classification, Fit, Recipe, Request, Samples, split
from expunge.errors import HistoryDoesNotFit
from expunge.history import History
from expunge.methods.warm_restart import WarmRestart
from expunge.recording import record
from expunge.unlearning import seeded, unlearn

N, LATE = 37, (33, 34, 36)  # samples that only the last steps see
FIT = Fit(epochs=6, batch=9, lr=0.05)


def build():
    return nn.Linear(4, 3)


@pytest.fixture
def trained(tmp_path):
    """Seven samples a step, in order; a model is kept before every second step."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 4, generator=generator)
    data = TensorDataset(x, x[:, :3].argmax(1))
    with seeded(1):
        model = build()
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.5)

    def run(keep=9):
        with record(model, optimizer, to=tmp_path / "history", keep=keep, every=2) as tape:
            for a, b in tape.watch(DataLoader(data, batch_size=7)):
                optimizer.zero_grad()
                F.cross_entropy(model(a), b).backward()
                optimizer.step()
        return data, model.eval(), tmp_path / "history"

    return run


def restarted(data, model, history, gone, **settings):
    parts = split(data, Request(Samples(gone)), test=data)
    how = WarmRestart(history, Recipe(build, FIT), **settings)
    return parts, unlearn(model, parts, how, task=Classification(), seed=5)


def test_it_trains_on_from_the_latest_model_that_had_not_seen_the_forgotten(trained):
    data, model, history = trained()
    assert History.open(history).starts == (0, 2, 4, 6)
    for gone, start in ((LATE, 4), ((20,), 2), ((1, 36), 0)):
        parts, outcome = restarted(data, model, history, gone)
        oracle = build()
        oracle.load_state_dict(History.open(history).start(start).model)
        with seeded(5):
            replace(FIT, epochs=3)(oracle, parts.retain)
        assert torch.equal(outcome.after.weight, oracle.weight)
        assert f"before step {start}" in outcome.notes[-1]


def test_a_start_that_may_have_seen_the_forgotten_is_refused_unless_told(trained):
    data, model, history = trained(keep=2)
    assert History.open(history).starts[0] > 0
    with pytest.raises(HistoryDoesNotFit, match="knowing=true"):
        restarted(data, model, history, LATE)
    _, outcome = restarted(data, model, history, LATE, knowing=True)
    assert "only damped" in outcome.notes[0]
