"""Faces: every part apart, and what is known of everybody beside the pictures."""

import io
import os

import numpy as np
import pytest
import torch

from expunge.errors import MissingInput
from expunge.problems.utkface import KNOWN, known_of, shrunk, utkface

Image = pytest.importorskip("PIL.Image")
N = 30


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (N, 64, 64, 3), dtype=np.uint8)
    blobs = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        blobs.append(np.frombuffer(file.getvalue(), np.uint8))
    path = tmp_path / "utkface" / "utkface64.npz"
    path.parent.mkdir()
    np.savez(
        path,
        x_blob=np.concatenate(blobs),
        x_offsets=np.cumsum([0, *map(len, blobs)]),
        image_shape=np.array([64, 64, 3]),
        age=np.arange(N, dtype=np.uint8) * 3,
        gender=(np.arange(N) % 2).astype(np.int8),
        race=np.where(np.arange(N) == 4, -1, np.arange(N) % 5).astype(np.int8),
        glasses=np.ones(N, np.int8),
        glasses_source=(np.arange(N) % 3).astype(np.uint8),
        split=(np.arange(N) % 3).astype(np.uint8),
        split_names=np.array(["train", "val", "test"]),
    )
    return tmp_path


def test_nobody_is_in_two_parts(folder):
    problem = utkface(data=folder)
    parts = [part.pictures.flatten(1) for part in (problem.train, problem.validation, problem.test)]
    assert [len(part) for part in parts] == [10, 10, 10]
    assert len(torch.cat(parts).unique(dim=0)) == N


def test_ages_fall_into_bins_that_begin_where_they_say(folder):
    known = utkface(data=folder).train.known
    ages = torch.arange(0, N, 3) * 3
    expected = [sum(age >= start for start in (24, 30, 46)) for age in ages.tolist()]
    assert known[:, KNOWN.index("age")].tolist() == expected


def test_what_nobody_labelled_is_told(folder):
    problem = utkface(data=folder)
    glasses = {
        name: known_of(part.prepare(*part.tensors), "glasses").unique().tolist()
        for name, part in (("train", problem.train), ("val", problem.validation))
    }
    assert glasses == {"train": [-1], "val": [1]}, "only the random pool counts"


def test_who_lacks_the_label_of_the_task_is_in_no_part(folder):
    problem = utkface(data=folder, task="race")
    sizes = [len(part) for part in (problem.train, problem.validation, problem.test)]
    assert sizes == [10, 9, 10]
    assert problem.validation.labels.min() >= 0


def test_one_face_comes_out_like_a_row_of_a_batch(folder):
    part = utkface(data=folder).test
    for one, rows in zip(part[3], part.prepare(*part.tensors), strict=True):
        torch.testing.assert_close(one, rows[3])


def test_shrinking_takes_means_over_squares():
    pictures = torch.tensor([[[[1, 3, 10, 10], [5, 7, 10, 10]] * 2]], dtype=torch.uint8)
    assert shrunk(pictures, 2).flatten().tolist() == [4, 10, 4, 10]
    assert shrunk(pictures, 4) is pictures


def test_without_data_the_error_says_where_they_are_published(tmp_path):
    with pytest.raises(MissingInput, match="UTKFace"):
        utkface(data=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("EXPUNGE_DATA"), reason="needs EXPUNGE_DATA")
def test_the_real_parts_have_the_published_sizes():
    problem = utkface()
    sizes = [len(part) for part in (problem.train, problem.validation, problem.test)]
    assert sizes == [18_971, 2_367, 2_370]
