"""What is special about DeltaGrad: exact in every step it is the run itself, else near to it."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import TensorDataset

from expunge import Classification, Request, Samples, split
from expunge.algebra.parameters import distance
from expunge.batching import Batches
from expunge.errors import BadSetting, HistoryDoesNotFit
from expunge.methods.deltagrad import DeltaGrad
from expunge.recording import record
from expunge.seeding import seeded
from expunge.splitting import Part
from expunge.unlearning import unlearn

SIZE, BATCH, EPOCHS, GONE = 97, 23, 12, (2, 3, 5, 8, 13, 21, 34, 55)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, 5, generator=generator).double()
    noise = torch.randn(SIZE, 3, generator=generator).double()
    return TensorDataset(x, (x @ torch.randn(5, 3, generator=generator).double() + noise).argmax(1))


def descended(data, stays, folder=None, **recorded):
    """Logistic regression by plain steps of SGD with momentum, without those who do not stay."""
    with seeded(0):
        model = nn.Linear(5, 3).double()
        optimizer = SGD(model.parameters(), lr=0.2, momentum=0.5, weight_decay=0.05)
        batches = Batches(Part.whole(data), BATCH, shuffle=True)
        if folder is None:
            steps = (data[i] for _ in range(EPOCHS) for i in _kept(batches, stays))
            return _walked(model, optimizer, steps)
        with record(model, optimizer, to=folder, keep=200, **recorded) as tape:
            watched = tape.watch(batches)
            return _walked(model, optimizer, (b for _ in range(EPOCHS) for b in watched))


def _kept(batches, stays):
    return (ids[stays[ids]] for ids, _ in batches.indexed())


def _walked(model, optimizer, batches):
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "history"
    everybody = torch.ones(SIZE, dtype=torch.bool)
    model = descended(data, everybody, folder, gradients="fp32")
    stays = everybody.clone()
    stays[list(GONE)] = False
    return model, folder, split(data, Request(Samples(GONE)), test=data), descended(data, stays)


def test_exact_in_every_step_it_is_the_run_without_them(run):
    model, folder, parts, retrained = run
    after = unlearn(model, parts, DeltaGrad(folder, every=1), task=Classification()).after
    assert distance(after, retrained) < 1e-6 * distance(model, retrained)


@pytest.mark.parametrize("every", [3, 5, 10])
def test_it_is_less_than_half_as_far_from_retraining_as_doing_nothing(run, every):
    model, folder, parts, retrained = run
    outcome = unlearn(model, parts, DeltaGrad(folder, every=every), task=Classification())
    assert 0 < distance(outcome.after, retrained) < 0.5 * distance(model, retrained)
    assert any("differences shrank" in note for note in outcome.notes)


def test_the_fewer_exact_steps_the_fewer_gradients(run):
    model, folder, parts, _ = run
    asked = []
    for every in (1, 3, 10):
        notes = unlearn(model, parts, DeltaGrad(folder, every=every), task=Classification()).notes
        asked.append(int(notes[-1].split(" ")[0].replace(",", "")))
    assert asked[0] > 2 * asked[2]
    assert asked == sorted(asked, reverse=True)


def test_a_history_that_cannot_be_followed_is_refused(data, run, tmp_path):
    parts = run[2]
    everybody = torch.ones(SIZE, dtype=torch.bool)
    bare = descended(data, everybody, tmp_path / "bare")
    with pytest.raises(HistoryDoesNotFit, match="keeps no gradients"):
        unlearn(bare, parts, DeltaGrad(tmp_path / "bare"), task=Classification())


def test_another_model_is_refused(run):
    model, folder, parts, _ = run
    other = deepcopy(model)
    with torch.no_grad():
        other.weight += 1
    with pytest.raises(HistoryDoesNotFit, match="other weights"):
        unlearn(other, parts, DeltaGrad(folder), task=Classification())


def test_settings_of_nothing_are_refused(run):
    model, folder, parts, _ = run
    with pytest.raises(BadSetting, match="must be positive"):
        unlearn(model, parts, DeltaGrad(folder, every=0), task=Classification())
