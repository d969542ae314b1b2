"""The ring on disk: killed, full, in the way, and never longer than it should be."""

import signal
import subprocess
import sys

import pytest
import torch
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from expunge import record
from expunge.errors import BadSetting, CannotWrite, MissingInput
from expunge.history import History, winding
from expunge.storing import digest_tensors

KILLED = """
import sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from expunge import record
torch.manual_seed(0)
model = nn.Linear(5, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loader = DataLoader(TensorDataset(torch.randn(24, 5)), batch_size=4, shuffle=True)
with record(model, optimizer, to=sys.argv[1], keep=7, gradients="fp32") as tape:
    for _ in range(100000):
        for (x,) in tape.watch(loader):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            print(flush=True)
"""


def test_a_run_that_is_killed_leaves_every_step_that_it_made(folder):
    with subprocess.Popen([sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE) as run:
        made = sum(1 for _ in zip(range(18), run.stdout, strict=False))
        run.send_signal(signal.SIGKILL)
        made += sum(1 for _ in run.stdout)
    history = History.open(folder)
    last = history.steps[-1].number
    assert made - 1 <= last <= made
    assert min(made, 7) <= len(history.steps) <= 14
    assert history.ended is None
    weight = history.start(history.starts[0]).model["weight"].double()
    velocity = history.start(history.starts[0]).optimizer["state"].get(0)
    velocity = velocity["momentum_buffer"].double() if velocity else 0.0
    for step in history.steps:
        for number in set(history.starts) & {step.number}:
            torch.testing.assert_close(weight.float(), history.start(number).model["weight"])
        velocity = 0.9 * velocity + step.gradient()["weight"].double()
        weight = weight - step.settings[0]["lr"] * velocity


def no_space_after(count, real):
    """A disk that takes so many writings whole, and half of the next."""
    left = iter(range(count))

    def attempt(*given):
        if next(left, None) is None:
            if isinstance(given[-1], memoryview):
                given[0].write(given[-1][: len(given[-1]) // 2])
            raise OSError(28, "No space left on device")
        return real(*given)

    return attempt


@pytest.mark.parametrize(
    ("name", "count", "left"), [("_pour", 12, range(6)), ("save_start", 2, range(4, 8))]
)
def test_a_full_disk_ends_the_recording_and_not_the_training(
    name, count, left, folder, monkeypatch, loop
):
    alone, model = loop.network(), loop.network()
    loop.train(alone, SGD(alone.parameters(), lr=0.1))
    monkeypatch.setattr(winding, name, no_space_after(count, getattr(winding, name)))
    optimizer = SGD(model.parameters(), lr=0.1)
    with (
        pytest.warns(RuntimeWarning, match=r"training goes on: .*No space") as told,
        record(model, optimizer, to=folder, keep=4, gradients="bf16") as tape,
    ):
        loop.train(model, optimizer, tape=tape)
    assert len(told) == 1
    assert loop.same(model, alone)
    assert "stopped: " in str(tape.summary)
    history = History.open(folder)
    assert [step.number for step in history.steps] == [*left]
    assert history.ended is None


def test_a_folder_that_cannot_be_written_is_an_error_before_the_first_step(tmp_path, loop):
    (tmp_path / "file").write_text("a diary")
    model = loop.network()
    with (
        pytest.raises(CannotWrite),
        record(model, SGD(model.parameters(), lr=0.1), to=tmp_path / "file" / "history") as tape,
    ):
        next(iter(tape.watch(loop.loader())))


def test_an_earlier_history_is_replaced(folder, loop):
    loop.recorded(gradients="fp32", keep=3)
    history = loop.recorded(keep=50, epochs=1)
    assert [step.number for step in history.steps] == [0, 1, 2, 3]
    assert history.gradients is None
    assert sorted(path.name for path in folder.iterdir()) == [
        "000000000.start.safetensors",
        "000000000.steps",
        "history.json",
    ]


@pytest.mark.parametrize("name", ["diary.txt", "history.json"])
def test_a_folder_of_somebody_else_is_left_alone(name, folder, loop):
    folder.mkdir()
    (folder / name).write_text("{}")
    model = loop.network()
    with (
        pytest.raises(CannotWrite, match="left alone"),
        record(model, SGD(model.parameters(), lr=0.1), to=folder),
    ):
        pytest.fail("the tape ran")
    assert [path.read_text() for path in folder.iterdir()] == ["{}"]


@pytest.mark.parametrize(("keep", "every"), [(5, 2), (7, 3), (4, 1), (6, 6)])
def test_a_model_is_kept_every_so_many_steps(keep, every, folder, loop):
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder, keep=keep, every=every) as tape:
        batches = tape.watch(loop.loader(batch_size=2, shuffle=True))
        for made, batch in enumerate(batches, start=1):
            loop.descend(model, optimizer, batch)
            history = History.open(folder)
            numbers = [step.number for step in history.steps]
            assert numbers == [*range(made - len(numbers), made)]
            assert min(made, keep) <= len(numbers) <= keep + every
            assert history.starts == tuple(range(numbers[0], made + 1, every))
            assert numbers[0] % every == 0


def test_unless_it_is_said_a_model_is_kept_once_in_as_many_steps_as_are_kept(folder, loop):
    unsaid, said = (
        loop.recorded(to=folder / str(every), keep=5, every=every) for every in (None, 5)
    )
    assert unsaid.starts == said.starts == (5, 10)


def test_the_oldest_segments_leave_the_disk(folder, loop):
    loop.recorded(keep=5, every=2, gradients="bf16")
    ends = ("gradients", "start.safetensors", "steps")
    left = [f"{number:09}.{end}" for number in (6, 8, 10, 12) for end in ends]
    assert sorted(path.name for path in folder.iterdir()) == [*left, "history.json"]


def test_a_replay_can_begin_with_every_model_that_was_kept(loop):
    def build(model):
        return SGD(model.parameters(), lr=0.1, momentum=0.9)

    model = loop.network()
    history = loop.recorded(model, build(model), keep=5, every=2)
    for number in history.starts:
        found, start = loop.network(), history.start(number)
        optimizer = build(found)
        found.load_state_dict(start.model)
        optimizer.load_state_dict(start.optimizer)
        for step in history.steps[number - history.starts[0] :]:
            loop.descend(found, optimizer, loop.data[step.ids[0]])
        assert loop.same(found, model)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"keep": 0}, "keep=0 would record no step"),
        ({"keep": -3}, "keep=-3 would record no step"),
        ({"every": 0}, "every=0 is no part of keep=200"),
        ({"keep": 7, "every": -2}, "every=-2 is no part of keep=7"),
        ({"keep": 7, "every": 8}, "every=8 is no part of keep=7"),
    ],
    ids=str,
)
def test_keeping_nothing_or_more_than_all_is_refused(given, text, folder, loop):
    model = loop.network()
    with pytest.raises(BadSetting, match=text):
        record(model, SGD(model.parameters(), lr=0.1), to=folder, **given)


def steps(tape, model, optimizer, loader):
    for (x,) in tape.watch(loader):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


def test_of_two_runs_that_record_into_one_folder_the_first_stops(folder):
    models = [torch.nn.Linear(5, 3) for _ in range(2)]
    optimizers = [SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    loader = DataLoader(TensorDataset(torch.randn(12, 5)), batch_size=4)
    first, second = (
        record(m, o, to=folder, keep=2) for m, o in zip(models, optimizers, strict=True)
    )
    with first:
        steps(first, models[0], optimizers[0], loader)
        with second:
            steps(second, models[1], optimizers[1], loader)
            with pytest.warns(RuntimeWarning, match="another run records into"):
                steps(first, models[0], optimizers[0], loader)
            steps(second, models[1], optimizers[1], loader)
    assert "another run" in first.summary.stopped
    assert History.open(folder).ended == digest_tensors(models[1].state_dict())
    assert [step.number for step in History.open(folder).steps][-1] == 5


def test_a_tape_follows_one_run(folder):
    model = torch.nn.Linear(5, 3)
    tape = record(model, SGD(model.parameters(), lr=0.1), to=folder)
    with tape:
        pass
    with pytest.raises(MissingInput, match="follows one run"), tape:
        pass


def test_what_a_killed_process_left_half_written_is_no_hindrance(folder):
    folder.mkdir()
    (folder / ".history.json.abc.partial").write_text("{")
    model = torch.nn.Linear(5, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        steps(tape, model, optimizer, DataLoader(TensorDataset(torch.randn(12, 5)), batch_size=4))
    assert len(History.open(folder).steps) == 3
    assert not [*folder.glob(".*.partial")]


def test_where_plain_sgd_began_nobody_knows_and_a_purge_deletes_all(folder):
    model = torch.nn.Linear(5, 3)
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        steps(tape, model, optimizer, DataLoader(TensorDataset(torch.randn(12, 5)), batch_size=4))
    assert History.open(folder).purge([3]).whole
