"""L1-sparse: a pull on every weight that fades linearly, and nothing else beside fine-tuning."""

from math import cos, pi

import pytest
import torch

from expunge import Classes, Classification
from expunge.methods.finetune import Finetune
from expunge.methods.l1_sparse import L1Sparse
from expunge.unlearning import unlearn


class Indifferent(Classification):
    """A loss that no weight changes, so that the penalty alone is left."""

    def loss(self, model, batch, /):
        return 0 * super().loss(model, batch)


PLAIN = {"momentum": 0.0, "weight_decay": 0.0, "lr": 0.1}


def test_the_penalty_alone_takes_off_every_weight_what_it_and_the_rate_add_up_to(blobs):
    parts = blobs.split(Classes((1,)))
    how = L1Sparse(epochs=3, penalty=0.01, **PLAIN)
    outcome = unlearn(blobs.model, parts, how, task=Indifferent())
    steps = len(outcome.traces["loss"])
    rates = [0.05 * (1 + cos(pi * t / steps)) for t in range(steps)]
    total = 0.01 * sum(rate * (1 - t / steps) for t, rate in enumerate(rates))
    for before, after in zip(blobs.model.parameters(), outcome.after.parameters(), strict=True):
        far = before.abs() > total
        torch.testing.assert_close(after[far].abs(), before[far].abs() - total)
        assert (after[~far].abs() <= 0.1 * 0.01 + 1e-6).all()  # it turns round at zero


def test_the_usual_penalty_reaches_as_far_as_it_says_in_runs_of_any_length(blobs):
    parts = blobs.split(Classes((1,)))
    size = torch.cat([p.detach().flatten() for p in blobs.model.parameters()]).abs().mean()
    for epochs, momentum in ((1, 0.0), (6, 0.0), (6, 0.9)):
        how = L1Sparse(epochs=epochs, reach=0.5, **PLAIN | {"momentum": momentum})
        outcome = unlearn(blobs.model, parts, how, task=Indifferent())
        before, after = (m[0].weight.detach().abs().max() for m in (blobs.model, outcome.after))
        assert float(before - after) == pytest.approx(float(0.5 * size), rel=1e-3)
        assert "penalty = " in outcome.notes[0]


def test_without_a_penalty_it_is_fine_tuning(blobs):
    parts = blobs.split(Classes((1,)))
    ours, theirs = (
        unlearn(blobs.model, parts, how, task=Classification()).after
        for how in (L1Sparse(epochs=2, penalty=0.0), Finetune(epochs=2))
    )
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
