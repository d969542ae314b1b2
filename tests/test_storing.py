"""Files are written whole or not at all, and nothing is opened that could run code."""

import errno
import json
import os
import pickle
import random
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from expunge.errors import CannotRead, CannotWrite
from expunge.storing import (
    forget_file,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
    write_text,
    writing,
)

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(7)}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype
        assert torch.equal(found[name], expected[name])


# Writing


def test_a_file_and_its_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "größer")
    assert (tmp_path / "a" / "b" / "c.txt").read_text(encoding="utf-8") == "größer"


def _fail_while_writing(path, fault):
    with writing(path) as file:
        file.write(b"half of the n")
        raise fault


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with pytest.raises(fault):
        _fail_while_writing(path, fault)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_a_full_disk_leaves_the_old_file_and_is_said(tmp_path, monkeypatch):
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left on device") as caught:
        write_text(path, "new")
    assert str(path) in caught.value.fact
    assert "free some space" in caught.value.hint
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with writing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_in_the_way_is_said(tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(CannotWrite, match="here could not be written"):
        write_text(tmp_path / "here", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path):
    write_text(tmp_path / "file", "text")
    with pytest.raises(CannotWrite, match="could not be written"):
        write_text(tmp_path / "file" / "below", "text")


def test_files_have_the_rights_that_the_user_asked_for(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_forgetting_a_file_says_whether_it_was_there(tmp_path):
    write_text(tmp_path / "file", "text")
    assert forget_file(tmp_path / "file")
    assert not forget_file(tmp_path / "file")


def test_what_cannot_be_removed_is_told(tmp_path):
    with pytest.raises(CannotWrite, match="could not be removed"):
        forget_file(tmp_path)  # a folder is no file


# JSON


def test_json_comes_back_as_it_went(tmp_path):
    write_json(tmp_path / "x.json", "fruit", {"name": "Äpfel", "count": [1, 2.5, None]})
    body = read_json(tmp_path / "x.json", "fruit")
    assert body["name"] == "Äpfel"
    assert body["count"] == [1, 2.5, None]


def test_json_starts_with_what_it_is_and_ends_with_a_line(tmp_path):
    write_json(tmp_path / "x.json", "fruit", {})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"expunge": "fruit", "version": 1}
    assert text.endswith("}\n")


def test_a_number_that_json_does_not_know_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", "fruit", {"value": float("nan")})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ('{"expunge": "fruit", "version": 2}', "format version 2, this expunge reads version 1"),
        ('{"expunge": "fruit"}', "format version None"),
        ('{"expunge": "vegetable", "version": 1}', "not a file of expunge of the kind 'fruit'"),
        ("[1]", "not a file of expunge"),
        ('{"expunge": "fr', "not readable as JSON"),
        ("", "not readable as JSON"),
    ],
)
def test_json_of_another_kind_is_refused(tmp_path, text, fact):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(CannotRead, match=fact):
        read_json(tmp_path / "x.json", "fruit")


def test_json_that_is_no_text_or_no_file_is_refused(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CannotRead, match="not readable"):
        read_json(tmp_path / "x.json", "fruit")
    with pytest.raises(CannotRead, match="not readable"):
        read_json(tmp_path, "fruit")
    with pytest.raises(CannotRead, match="does not exist"):
        read_json(tmp_path / "y.json", "fruit")


# Tensors


def test_tensors_come_back_bit_for_bit_with_their_notes(tmp_path):
    path = tmp_path / "x.safetensors"
    exotic = WEIGHTS | {
        "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
        "yes": torch.tensor([True, False]),
        "turned": torch.arange(6.0).reshape(2, 3).T,
    }
    save_tensors(path, exotic, {"method": "Duck"})
    found, meta = load_tensors(path)
    same(found, exotic)
    assert meta == {"expunge": "1", "method": "Duck"}


def test_tied_tensors_are_written_under_both_names(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    save_tensors(tmp_path / "x.safetensors", model.state_dict())
    found, _ = load_tensors(tmp_path / "x.safetensors")
    same(found, model.state_dict())


def test_others_can_read_our_weights_without_us(tmp_path):
    save_tensors(tmp_path / "x.safetensors", WEIGHTS)
    same(load_file(tmp_path / "x.safetensors"), WEIGHTS)


def test_newer_weights_are_refused(tmp_path):
    save_tensors(tmp_path / "x.safetensors", WEIGHTS, {"expunge": "2"})
    with pytest.raises(CannotRead, match="format version 2"):
        load_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64])
def test_broken_safetensors_are_said(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CannotRead, match="not readable as safetensors"):
        load_tensors(tmp_path / "x.safetensors")


def test_missing_weights_are_said(tmp_path):
    with pytest.raises(CannotRead, match="does not exist"):
        load_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize("wrap", [dict, lambda w: {"state_dict": w, "epoch": 3}])
@pytest.mark.parametrize("zipped", [True, False])
def test_somebodys_checkpoint_is_read(tmp_path, wrap, zipped):
    torch.save(wrap(WEIGHTS), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found, meta = load_tensors(tmp_path / "x.pt")
    same(found, WEIGHTS)
    assert meta == {}


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, zipped):
    mark = tmp_path / "it ran"
    body = {"state_dict": WEIGHTS, "more": Malicious(mark)}
    torch.save(body, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CannotRead, match="not a checkpoint of weights only") as caught:
        load_tensors(tmp_path / "x.pt")
    assert "model.state_dict()" in caught.value.hint
    assert not mark.exists()


def test_a_plain_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path):
    mark = tmp_path / "it ran"
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Malicious(mark), protocol=2))
    with pytest.raises(CannotRead, match="not a checkpoint"):
        load_tensors(tmp_path / "x.pth")
    assert not mark.exists()


@pytest.mark.parametrize("body", [nn.Linear(2, 3), [1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path, body):
    torch.save(body, tmp_path / "x.pt")
    with pytest.raises(CannotRead, match=r"weights only|no state dict"):
        load_tensors(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_any_other_kind_is_refused_as_a_checkpoint(tmp_path):
    path, draw = tmp_path / "x.pt", random.Random(0)
    torch.save(WEIGHTS, path)
    whole = path.read_bytes()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("hello.txt", "hello")
    contents = [b"", b"hello", b"\x80\x02", (tmp_path / "other.zip").read_bytes(), whole[:300]]
    contents += [draw.randbytes(60) for _ in range(200)]
    contents += [b"\x80\x02" + draw.randbytes(30) for _ in range(300)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(CannotRead):
            load_tensors(path)


def test_the_same_tensors_and_notes_make_the_same_bytes(tmp_path):
    notes = {f"note {k}": f"{k} ä" for k in range(9)}
    files = [tmp_path / f"{k}.safetensors" for k in range(6)]
    for file in files:
        save_tensors(file, {"b": torch.ones(3), "a": torch.zeros(2, 5)}, notes)
    assert len({file.read_bytes() for file in files}) == 1
    tensors, meta = load_tensors(files[0])
    assert notes.items() <= meta.items()
    assert torch.equal(tensors["b"], torch.ones(3))
