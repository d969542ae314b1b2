"""Under test, arrays have the shapes that signatures name; nothing else is wrapped."""

import inspect

import pytest
import torch
from jaxtyping import TypeCheckError

from expunge.algebra.statistics import auc
from expunge.observing import Observation
from expunge.splitting import Part
from expunge.storing import digest_text


def test_an_array_of_another_shape_is_refused_by_functions_and_dataclasses():
    flat, square = torch.zeros(3), torch.zeros(3, 3)
    auc(flat, flat)
    Observation(torch.arange(3), square, torch.zeros(3).long())
    with pytest.raises(TypeCheckError):
        auc(square, flat)
    with pytest.raises(TypeCheckError):
        Observation(torch.arange(3), square, torch.zeros(4).long())
    with pytest.raises(TypeCheckError):
        Part([], square.long())


def test_functions_that_name_no_shape_are_left_as_they_are():
    assert inspect.unwrap(digest_text) is digest_text
    assert inspect.unwrap(auc) is not auc
