"""Faces: every part apart, and what is known of everybody beside the pictures."""

import os

import pytest
import torch

from expunge.errors import MissingInput
from expunge.problems.utkface import KNOWN, known_of, shrunk, utkface

N = 30  # faces


def test_nobody_is_in_two_parts(faces):
    problem = utkface(data=faces)
    parts = [part.pictures.flatten(1) for part in (problem.train, problem.validation, problem.test)]
    assert [len(part) for part in parts] == [10, 10, 10]
    assert len(torch.cat(parts).unique(dim=0)) == N


def test_ages_fall_into_bins_that_begin_where_they_say(faces):
    known = utkface(data=faces).train.known
    ages = torch.arange(0, N, 3) * 3
    expected = [sum(age >= start for start in (24, 30, 46)) for age in ages.tolist()]
    assert known[:, KNOWN.index("age")].tolist() == expected


def test_what_nobody_labelled_is_told(faces):
    problem = utkface(data=faces)
    glasses = {
        name: known_of(part.prepare(*part.tensors), "glasses").unique().tolist()
        for name, part in (("train", problem.train), ("val", problem.validation))
    }
    assert glasses == {"train": [-1], "val": [1]}, "only the random pool counts"


def test_who_lacks_the_label_of_the_task_is_in_no_part(faces):
    problem = utkface(data=faces, task="race")
    sizes = [len(part) for part in (problem.train, problem.validation, problem.test)]
    assert sizes == [10, 9, 10]
    assert problem.validation.labels.min() >= 0


def test_one_face_comes_out_like_a_row_of_a_batch(faces):
    part = utkface(data=faces).test
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
