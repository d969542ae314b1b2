"""Digests tell apart what differs, and settings become JSON."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from expunge.accounting import as_json
from expunge.storing import digest_json, digest_tensors, digest_text


@given(st.lists(st.text()), st.lists(st.text()))
def test_two_lists_of_texts_never_share_a_digest(a, b):
    assert (digest_text(*a) == digest_text(*b)) == (a == b)


def test_the_order_of_keys_does_not_matter_but_that_of_lists_does():
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])


def test_a_tensors_digest_sees_names_types_shapes_and_every_byte():
    x = torch.arange(6.0)
    base = digest_tensors({"x": x})
    changed = x.clone()
    changed[-1] = torch.nextafter(changed[-1], torch.tensor(9.0))
    others = [
        {"y": x},
        {"x": x.double()},
        {"x": x.reshape(2, 3)},
        {"x": x.view(torch.int32)},
        {"x": changed},
        {"x": x, "y": x},
        {},
    ]
    assert len({base, *map(digest_tensors, others)}) == 1 + len(others)


def test_a_tensors_digest_does_not_see_how_it_lies_in_memory():
    x = torch.arange(6.0).reshape(2, 3)
    laid = {"b": nn.Parameter(x.T.contiguous().T), "a": x}
    assert digest_tensors(laid) == digest_tensors({"a": x, "b": x.clone()})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.int8, torch.complex64])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_tensors_of_every_kind_have_a_digest(dtype, shape):
    assert len(digest_tensors({"x": torch.zeros(shape, dtype=dtype)})) == 64


def test_large_tensors_are_digested_piece_by_piece_to_the_same_end(monkeypatch):
    x = torch.arange(1000)
    whole = digest_tensors({"x": x})
    monkeypatch.setattr("expunge.storing._CHUNK", 7)
    assert digest_tensors({"x": x}) == whole


# Settings as JSON


@dataclass(frozen=True)
class Settings:
    path: Path
    sizes: tuple[int, ...]


class Described:
    def describe(self):
        return {"lr": 0.1}


def test_settings_become_json_whatever_they_are(tmp_path):
    found = as_json(
        {
            "plain": [None, True, 1, 0.5, "x"],
            "dataclass": Settings(tmp_path, (1, 2)),
            "described": Described(),
            "function": np.mean,
            "class": nn.ReLU,
            "partial": partial(int, base=2),
            3: frozenset({4}),
        }
    )
    assert json.loads(json.dumps(found)) == found
    assert found["dataclass"] == {"path": str(tmp_path), "sizes": [1, 2]}
    assert found["described"] == {"lr": 0.1}
    assert found["class"] == "torch.nn.modules.activation:ReLU"
    assert found["3"] == [4]
