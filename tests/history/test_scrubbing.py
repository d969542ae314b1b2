"""A purge: nothing of what went can be computed back from what is left."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from expunge import record
from expunge.errors import HistoryDoesNotFit, RequestDoesNotFit
from expunge.history import History, scrubbing


def test_a_purge_takes_ids_and_what_knew_them_and_leaves_the_rest(folder, run):
    run.left(folder, keep=100)
    before = History.open(folder)
    clean = [step.gradient() for step in before.steps[:2]]
    told = before.purge(run.gone)
    assert (told.steps, told.gradients, told.starts, told.whole) == (4, 6, 0, False)
    history = History.open(folder)
    left = [step.ids[0].tolist() for step in history.steps]
    assert left == [[i for i in ids if i not in run.gone] for ids in run.batches]
    found = [step.gradient() for step in history.steps]
    assert found[2:] == [None] * 6
    for a, b in zip(found[:2], clean, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in b)
    assert (history.starts, history.ended) == ((0,), None)


def test_a_purged_history_is_the_same_whoever_the_purged_were(tmp_path, run, contents):
    folders = [run.left(tmp_path / "a", keep=8), run.left(tmp_path / "b", strange=run.gone, keep=8)]
    a, b = map(contents, folders)
    differ = {name for name in a if a[name] != b[name]}
    assert differ == {"000000000.gradients", "000000008.start.safetensors", "history.json"}
    for folder in folders:
        History.open(folder).purge(run.gone)
    assert contents(folders[0]) == contents(folders[1])


def theirs(history, run, at):
    """A batch's gradient times its size, less those of retained samples: what is it, and whose?"""
    x, y = run.data().tensors
    model = run.network()
    optimizer = run.optimizer(model)
    model.load_state_dict(history.start(0).model)
    for step in history.steps[:at]:
        for name, parameter in model.named_parameters():
            parameter.grad = step.gradient()[name]
        optimizer.step()
    ids = torch.tensor(run.batches[at])
    loss = cross_entropy(model(x[ids]), y[ids], reduction="none")
    going = torch.isin(ids, torch.tensor(run.gone))
    own, others = (
        torch.autograd.grad(loss[rows].sum(), model[2].bias, retain_graph=True)[0]
        for rows in (going, ~going)
    )
    return len(ids) * history.steps[at].gradient()["2.bias"] - others, own


def test_gradients_of_the_purged_can_be_computed_before_a_purge_and_not_after(folder, run):
    run.left(folder, keep=100)
    for at in (2, 3):
        found, own = theirs(History.open(folder), run, at)
        torch.testing.assert_close(found, own)
        assert own.abs().max() > 0.1
    History.open(folder).purge(run.gone)
    with pytest.raises(TypeError, match="'NoneType' object is not subscriptable"):
        theirs(History.open(folder), run, 2)


def test_later_starts_know_the_purged_and_go(folder, run, contents):
    run.left(folder, keep=5)
    told = History.open(folder).purge(run.gone)
    assert (told.starts, told.gradients) == (1, 6)
    history = History.open(folder)
    assert (history.starts, len(history.steps)) == ((0,), 8)
    assert contents(folder).keys() == {
        "000000000.gradients",
        "000000000.start.safetensors",
        "000000000.steps",
        "history.json",
    }


def test_starts_before_the_purged_were_seen_stay(folder, run):
    run.left(folder, keep=5)
    last = run.batches[3][-1]
    assert History.open(folder).purge([last]).starts == 1
    run.record(folder, keep=3, steps=4)
    told = History.open(folder).purge([last])
    assert (told.starts, told.gradients) == (0, 1)
    history = History.open(folder)
    assert history.starts == (0, 3)
    assert [step.gradient() is None for step in history.steps] == [False] * 3 + [True]


def test_a_sample_that_was_read_and_passed_over_may_be_known_all_the_same(folder, run):
    model = run.network()
    optimizer = run.optimizer(model)
    with record(model, optimizer, to=folder, keep=2, gradients="fp32") as tape:
        loader = DataLoader(run.data(), batch_sampler=run.batches[:4])
        for number, (x, y) in enumerate(tape.watch(loader)):
            loss = cross_entropy(model(x), y)  # the batch's mean and variance go into buffers
            if number != 1:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    told = History.open(folder).purge([run.batches[1][0]])
    assert (told.steps, told.gradients, told.starts) == (1, 2, 1)


def test_samples_that_nobody_saw_leave_no_trace_and_nothing_changes(folder, run, contents):
    run.left(folder, keep=9, steps=3)
    before = contents(folder)
    told = History.open(folder).purge(run.batches[3])
    assert (told.steps, told.gradients, told.starts) == (0, 0, 0)
    assert contents(folder) == before


def test_where_the_window_does_not_begin_with_the_run_everything_goes(folder, run, contents):
    run.left(folder)
    (folder / "diary.txt").write_text("not ours")
    told = History.open(folder).purge([run.batches[0][0]])
    assert (told.gradients, told.starts, told.whole) == (4, 2, True)
    assert "the history was deleted" in str(told)
    assert [*contents(folder)] == ["diary.txt"]


def test_a_run_that_went_on_with_an_optimizer_did_not_begin_there(folder, run):
    model = run.network()
    optimizer = run.optimizer(model)
    cross_entropy(model(run.data()[:7][0]), run.data()[:7][1]).backward()
    optimizer.step()
    with record(model, optimizer, to=folder) as tape:
        for x, y in tape.watch(DataLoader(run.data(), batch_size=12)):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    assert History.open(folder).purge([22]).whole


def test_a_given_start_takes_the_place_of_one_that_knew_the_purged(folder, run):
    run.left(folder)
    clean = {name: x + 1 for name, x in History.open(folder).start(4).model.items()}
    told = History.open(folder).purge(run.gone, start=clean)
    assert (told.gradients, told.starts, told.whole) == (4, 2, False)
    history = History.open(folder)
    start = history.start(4)
    assert history.starts == (4,)
    assert start.optimizer["state"] == {}
    assert start.optimizer["param_groups"][0]["lr"] == run.rate
    assert start.model.keys() == clean.keys()
    assert all(torch.equal(x, clean[name]) for name, x in start.model.items())
    assert {step.gradient() for step in history.steps} == {None}
    assert not {*torch.cat([step.ids[0] for step in history.steps]).tolist()} & {*run.gone}


def test_a_start_of_another_network_is_refused_and_nothing_changes(folder, run, contents):
    run.left(folder)
    before = contents(folder)
    with pytest.raises(HistoryDoesNotFit, match="not a state of the model"):
        History.open(folder).purge(run.gone, start=nn.Linear(5, 3).state_dict())
    assert contents(folder) == before


@pytest.mark.parametrize("sample", [-1, 23])
def test_samples_outside_the_dataset_are_refused_and_nothing_changes(sample, folder, run, contents):
    run.left(folder)
    before = contents(folder)
    with pytest.raises(RequestDoesNotFit, match=f"{sample} is not among the 23"):
        History.open(folder).purge([1, sample])
    assert contents(folder) == before


def test_what_a_killed_process_left_half_written_goes_too(folder, run, contents):
    run.left(folder, keep=100)
    whole = contents(folder)
    with (folder / "000000000.steps").open("ab") as file:
        file.write(whole["000000000.steps"][:70])
    with (folder / "000000000.gradients").open("ab") as file:
        file.write(whole["000000000.gradients"][:900])
    (folder / ".000000008.start.safetensors.abc.partial").write_bytes(b"weights")
    (folder / "000000008.gradients").write_bytes(b"gradients")
    History.open(folder).purge([])
    assert contents(folder) == whole


@pytest.mark.parametrize("step", ["_remove_others", "_cut", "writing"])
@pytest.mark.parametrize("keep", [5, 8])
def test_a_purge_that_was_interrupted_can_be_done_again(step, keep, folder, run, monkeypatch):
    run.left(folder, keep=keep)
    history = History.open(folder)
    with monkeypatch.context() as patch:
        patch.setattr(scrubbing, step, _interrupted)
        with pytest.raises(KeyboardInterrupt):
            history.purge(run.gone)
    History.open(folder).purge(run.gone)
    history = History.open(folder)
    assert history.starts == (0,)
    assert [step.gradient() is None for step in history.steps[:3]] == [False, False, True]
    assert not {*torch.cat([step.ids[0] for step in history.steps]).tolist()} & {*run.gone}


def _interrupted(*_given):
    raise KeyboardInterrupt
