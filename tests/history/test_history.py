"""What is on disk, whole or cut short, is read for what it is."""

import json
import shutil

import pytest
import torch

from expunge.errors import CannotRead, HistoryDoesNotFit
from expunge.history import History
from expunge.history.records import Record, framed, payloads, unpacked


@pytest.fixture
def kept(folder, run):
    """Four steps of eight, and a start after them."""
    return run.left(folder)


def test_what_was_recorded_is_read(kept, run, contents):
    history = History.open(kept)
    assert [step.number for step in history.steps] == [4, 5, 6, 7]
    assert [step.ids[0].tolist() for step in history.steps] == [*run.batches[4:]]
    assert history.starts == (4, 8)
    assert (history.size, history.optimizer, history.gradients) == (run.size, "sgd", "fp32")
    assert history.groups == (("0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"),)
    assert history.parameters == 5 * 4 + 4 + 4 + 4 + 4 * 3 + 3
    assert history.bytes == sum(len(data) for data in contents(kept).values())


def test_steps_are_a_sequence(kept):
    steps = History.open(kept).steps
    assert [step.number for step in steps[1:3]] == [5, 6]
    assert steps[-1].number == 7
    assert [step.number for step in reversed(steps)] == [7, 6, 5, 4]
    with pytest.raises(IndexError):
        _ = steps[4]


def test_a_start_holds_buffers_and_what_the_optimizer_remembers(kept):
    start = History.open(kept).start(8)
    assert start.number == 8
    assert start.model["1.num_batches_tracked"] == 8
    assert {*start.optimizer["state"]} == {*range(6)}
    assert start.optimizer["param_groups"][0]["momentum"] == 0.5


def test_a_start_that_is_not_kept_names_those_that_are(kept):
    with pytest.raises(HistoryDoesNotFit, match="no model before step 5") as told:
        History.open(kept).start(5)
    assert "[4, 8]" in told.value.hint


RECORDS = [
    Record((torch.tensor([5, 3, 2**40]),), torch.tensor([], dtype=torch.long), ({"lr": 0.1},)),
    Record(
        (torch.tensor([1]), torch.tensor([], dtype=torch.long)),
        torch.tensor([9, 8]),
        ({"lr": 1e-300, "momentum": 0.9}, {"lr": 1 / 3}),
        torch.get_rng_state(),
        (0, 3),
    ),
]


def told(record):
    passes = [ids.tolist() for ids in record.passes]
    rng = None if record.rng is None else record.rng.tolist()
    return passes, record.aside.tolist(), record.settings, rng, record.still


@pytest.mark.parametrize("record", RECORDS, ids=["plain", "rich"])
def test_a_record_comes_back_as_it_was(record, tmp_path):
    (tmp_path / "steps").write_bytes(framed(record) * 2)
    assert [told(unpacked(each)) for each in payloads(tmp_path / "steps")] == [told(record)] * 2


def test_a_file_cut_anywhere_gives_the_records_before_the_cut(tmp_path):
    frames = [framed(RECORDS[0]), framed(RECORDS[0].without(torch.tensor([3]))), framed(RECORDS[0])]
    path, whole = tmp_path / "steps", b"".join(frames)
    ends = [sum(map(len, frames[:count])) for count in range(4)]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert len(payloads(path)) == sum(end <= cut for end in ends[1:])


def test_a_byte_changed_anywhere_is_never_read_as_another_record(tmp_path):
    frame = framed(RECORDS[0])
    path = tmp_path / "steps"
    for place in range(2 * len(frame)):
        changed = bytearray(frame * 2)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        assert len(payloads(path)) == place // len(frame)


def test_steps_that_were_cut_short_are_left_out_and_the_start_after_them_stays(kept):
    path = kept / "000000004.steps"
    path.write_bytes(path.read_bytes()[:-1])
    (kept / "000000008.start.safetensors").unlink()
    assert [step.number for step in History.open(kept).steps] == [4, 5, 6]


def test_steps_before_a_gap_are_not_read(kept):
    path = kept / "000000004.steps"
    path.write_bytes(path.read_bytes()[:-1])
    history = History.open(kept)
    assert history.starts == (8,)
    assert len(history.steps) == 0


def test_gradients_that_were_cut_short_are_none(kept):
    path = kept / "000000004.gradients"
    path.write_bytes(path.read_bytes()[:-1])
    told = [step.gradient() is not None for step in History.open(kept).steps]
    assert told == [True, True, True, False]


def damage(folder, name):
    header = folder / "history.json"
    body = json.loads(header.read_text())
    match name:
        case "empty":
            header.unlink()
            return
        case "newer":
            body["version"] = 99
        case "incomplete":
            del body["layout"]
        case "foreign":
            body["expunge"] = "evidence"
        case _:
            for path in folder.glob("*.start.safetensors"):
                path.unlink()
    header.write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("empty", "holds no history"),
        ("newer", "format version 99"),
        ("incomplete", "is not whole: 'layout'"),
        ("foreign", "not a file of expunge of the kind 'history'"),
        ("startless", "ends before its first step"),
    ],
)
def test_what_is_no_history_is_refused(name, why, kept):
    damage(kept, name)
    with pytest.raises(CannotRead, match=why):
        History.open(kept)


def test_a_start_of_another_kind_is_refused(kept):
    shutil.copyfile(kept / "000000004.gradients", kept / "000000008.start.safetensors")
    with pytest.raises(CannotRead):
        History.open(kept).start(8)
