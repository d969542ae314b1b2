"""Groups that differ by themselves are found out before any model is asked."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Outcome, Request, Samples, split
from expunge.metric import Trial
from expunge.metrics.blind import Blind
from expunge.observing import snapshot

N, TEST, D, C = 160, 200, 6, 3
NAME = "blind baseline AUC"


def images(n, draw):
    """Patterns of their class, and noise."""
    y = torch.arange(n) % C
    x = torch.randn(n, D, generator=draw)
    x[torch.arange(n), y] += 2
    return x, y


def measured(*targets, change=lambda x: x, seed=0, model=None, words=False, **settings):
    draw = torch.Generator().manual_seed(seed)
    (x, y), (unseen, z) = images(N, draw), images(TEST, draw)
    gone = torch.zeros(N, dtype=torch.bool)
    requests = [Request(target, id=f"r{k}") for k, target in enumerate(targets)]
    for target in targets:
        match target:
            case Samples(indices):
                gone[list(indices)] = True
            case Classes((label,)):
                gone |= y == label
    x[gone] = change(x[gone])
    if words:
        x, unseen = (each.mul(10).long().clamp(0, 29) for each in (x, unseen))
    parts = split(TensorDataset(x, y), *requests, test=TensorDataset(unseen, z))
    model, task = model or nn.Linear(D, C), Classification()
    seen = snapshot(model, parts, task)
    trial = Trial(Outcome.of(model, model, parts, task=task), seen, seen)
    return {m.name: m for m in Blind(**settings).measure(trial)}


EVEN = Samples(tuple(range(0, N, 2)))


@pytest.mark.parametrize(
    "change",
    [lambda x: x + 0.6, lambda x: 1.8 * x, lambda x: x.sort(1).values],
    ids=["brighter", "harder", "sorted"],
)
def test_a_planted_shift_confounds_attacks(change):
    found = measured(EVEN, change=change)[NAME]
    assert found.value > 0.6
    assert found.interval[0] > 0.5
    assert "confounded" in found.note


def test_samples_like_any_other_do_not():
    found = measured(EVEN)[NAME]
    low, high = found.interval
    assert low <= 0.5 <= high
    assert "confounded" not in found.note
    assert found.n == 80
    assert found.note.startswith("80 forgotten samples against 1")


@pytest.mark.slow
def test_an_even_split_passes_nearly_always():
    passed = [measured(EVEN, seed=seed)[NAME].interval for seed in range(100)]
    assert sum(low <= 0.5 <= high for low, high in passed) >= 93


def test_a_class_is_compared_with_unseen_samples_of_the_class():
    found = measured(Classes((1,)))[NAME]
    assert found.interval[0] <= 0.5 <= found.interval[1]
    assert found.note == "53 forgotten samples against 67 unseen ones"


def test_every_request_is_looked_at_by_itself():
    found = measured(EVEN, Samples(tuple(range(1, 60, 2))))
    assert list(found) == [NAME, f"{NAME}, request r0", f"{NAME}, request r1"]
    assert found[f"{NAME}, request r1"].n == 30


def test_too_few_samples_are_said():
    found = measured(Samples((1, 2, 3)))[NAME]
    assert found.value is None
    assert "there are 3" in found.note


def test_rows_bound_what_is_looked_at():
    assert measured(EVEN, rows=30)[NAME].n == 30


def test_words_are_seen_through_an_untrained_model():
    def build():
        return nn.Sequential(nn.Embedding(30, 4), nn.Flatten(), nn.Linear(4 * D, C))

    shifted = {"change": lambda x: x + 1.0, "words": True}
    alone = measured(EVEN, model=build(), **shifted)[NAME]
    assert alone.value is None
    assert "not one tensor of floating-point numbers" in alone.note
    found = measured(EVEN, model=build(), build=build, **shifted)[NAME]
    assert found.interval[0] > 0.5
