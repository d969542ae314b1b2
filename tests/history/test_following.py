"""What a tape refuses to follow, each with a hint, and what it leaves of the rest."""

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam, RMSprop
from torch.utils.data import DataLoader, TensorDataset

from expunge import record
from expunge.errors import HistoryDoesNotFit
from expunge.recording import following


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "history"


def loader(n=13):
    return DataLoader(TensorDataset(torch.ones(n, 5)), batch_size=4)


def descend(model, optimizer, batch):
    optimizer.zero_grad()
    model(batch[0]).square().mean().backward()
    optimizer.step()


OPTIMIZERS = {
    "lbfgs": (lambda m: LBFGS(m.parameters()), "steps of LBFGS cannot be followed"),
    "rmsprop": (lambda m: RMSprop(m.parameters()), "steps of RMSprop cannot"),
    "coupled": (lambda m: Adam(m.parameters(), weight_decay=0.1), "steps of Adam cannot"),
    "own": (lambda m: type("Mine", (SGD,), {})(m.parameters(), lr=0.1), "steps of Mine cannot"),
    "maximizing": (lambda m: SGD(m.parameters(), lr=0.1, maximize=True), "maximizes"),
    "foreign": (
        lambda m: SGD([*m.parameters(), nn.Parameter(torch.ones(2, 4))], lr=0.1),
        r"moves 1 parameters that are not of the model, the first of shape \(2, 4\)",
    ),
}


def refused(model, optimizer, folder, why):
    with pytest.raises(HistoryDoesNotFit, match=why) as told, record(model, optimizer, to=folder):
        pytest.fail("the tape ran")
    assert told.value.hint
    assert not folder.exists()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_cannot_be_followed_is_refused(name, folder):
    build, why = OPTIMIZERS[name]
    model = nn.Linear(5, 3)
    refused(model, build(model), folder, why)


def test_sparse_gradients_are_refused(folder):
    model = nn.Embedding(7, 5, sparse=True)
    refused(model, SGD(model.parameters(), lr=0.1), folder, "sparse gradients")


def test_a_run_of_several_processes_is_refused(folder, monkeypatch):
    monkeypatch.setattr(following.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(following.distributed, "get_world_size", lambda: 3)
    model = nn.Linear(5, 3)
    refused(model, SGD(model.parameters(), lr=0.1), folder, "what 3 processes read")


def test_a_second_optimizer_over_the_same_parameter_is_refused(folder):
    model = nn.Linear(5, 3)
    first, second = SGD(model.parameters(), lr=0.1), SGD([model.bias], lr=0.1)
    with record(model, first, to=folder) as tape:
        batch = next(iter(tape.watch(loader())))
        descend(model, first, batch)
        with pytest.raises(HistoryDoesNotFit, match="a second optimizer, SGD, moves"):
            second.step()
    second.step()


def test_a_second_optimizer_over_other_parameters_is_nobody_s_business(folder):
    model, other = nn.Linear(5, 3), nn.Linear(5, 2)
    first, second = SGD(model.parameters(), lr=0.1), SGD(other.parameters(), lr=0.1)
    with record(model, first, to=folder) as tape:
        for batch in tape.watch(loader()):
            descend(model, first, batch)
            descend(other, second, batch)
    assert tape.summary.steps == 4


def test_a_group_that_is_added_on_the_way_is_refused_at_the_next_step(folder):
    model = nn.Linear(5, 3)
    optimizer = SGD([model.weight], lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        batches = iter(tape.watch(loader()))
        descend(model, optimizer, next(batches))
        optimizer.add_param_group({"params": [model.bias]})
        with pytest.raises(HistoryDoesNotFit, match=r"groups of \[1\] .* now has \[1, 1\]"):
            descend(model, optimizer, next(batches))
    assert tape.summary.steps == 1


def test_a_step_on_a_batch_that_nobody_watched_is_refused(folder):
    model = nn.Linear(5, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        descend(model, optimizer, next(iter(tape.watch(loader()))))
        with pytest.raises(HistoryDoesNotFit, match="no batch that the tape has watched") as told:
            descend(model, optimizer, next(iter(loader())))
    assert "tape.watch" in told.value.hint
    assert tape.summary.steps == 1


def test_reading_ahead_of_the_loop_is_refused_at_the_first_pass(folder):
    model = nn.Linear(5, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        batches = [*tape.watch(loader())]
        with pytest.raises(HistoryDoesNotFit, match="4 batches were read before the first"):
            descend(model, optimizer, batches[0])


def test_two_datasets_are_refused_and_the_first_is_still_watched(folder):
    model = nn.Linear(5, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    ours, other = loader(), loader()
    same = DataLoader(ours.dataset, batch_size=5)
    with record(model, optimizer, to=folder) as tape:
        tape.watch(ours)
        with pytest.raises(HistoryDoesNotFit, match="two datasets are watched"):
            tape.watch(other)
        assert tape.watch(ours) is tape.watch(ours)
        for batch in tape.watch(same):
            descend(model, optimizer, batch)
    assert tape.summary.steps == 3


def test_a_list_of_batches_does_not_tell_their_samples(folder):
    model = nn.Linear(5, 3)
    with (
        record(model, SGD(model.parameters(), lr=0.1), to=folder) as tape,
        pytest.raises(HistoryDoesNotFit, match="a list does not tell"),
    ):
        tape.watch([*loader()])


def test_the_names_are_those_before_the_model_was_compiled(folder):
    model, compiled = nn.Linear(5, 3), nn.Module()
    compiled._orig_mod = model  # what torch.compile returns holds the model by this name
    optimizer = SGD(compiled.parameters(), lr=0.1)
    tape = record(compiled, optimizer, to=folder)
    assert following.layout_of(tape._model, optimizer).groups == (("weight", "bias"),)
