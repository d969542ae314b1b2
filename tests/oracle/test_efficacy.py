"""The share of forgotten samples that a machine takes for unseen, where it is known."""

import pytest
import torch

from expunge.algebra.efficacy import efficacy

SURE, UNSURE = torch.linspace(0.9, 1.0, 40), torch.linspace(0.1, 0.6, 30)


def test_the_forgotten_are_on_the_side_that_they_are_on():
    assert efficacy(SURE, UNSURE, UNSURE[:7]) == 1
    assert efficacy(SURE, UNSURE, SURE[:7]) == 0
    assert efficacy(SURE, UNSURE, torch.cat([SURE[:3], UNSURE[:9]])) == pytest.approx(0.75)


def test_as_many_of_both_sides_are_learnt_from():
    """Otherwise whatever is rare would be taken for nobody."""
    draw = torch.Generator().manual_seed(0)
    many, few = (0.5 + 0.1 * torch.randn(n, generator=draw) for n in (900, 60))
    found = efficacy(many + 0.05, few, few)
    assert found > 0.5
