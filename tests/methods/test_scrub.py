"""SCRUB: rewinding takes the epoch that brute force would take, and only where it may."""

from math import ceil

import pytest
import torch

from expunge import Classes, Request, Samples, split
from expunge.methods.scrub import Scrub
from expunge.unlearning import unlearn

GONE = tuple(range(0, 800, 9))


def pushed(threes, epochs, *, target=None, validation=True, pushing=1, **settings):
    problem = threes.problem
    aside = problem.validation if validation else None
    asked = Request(target or Samples(GONE))
    parts = split(problem.train, asked, test=problem.test, validation=aside)
    how = Scrub(epochs=epochs, pushing=pushing, lr=0.1, **settings)
    return unlearn(threes.original, parts, how, task=problem.task, seed=2)


def errors(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) != y).double()


def test_the_epoch_that_errs_on_the_forgotten_as_on_unseen_samples_like_them_is_kept(threes):
    x, y = (v[list(GONE)] for v in threes.problem.train.tensors)
    runs = [pushed(threes, n, rewind=False).after for n in (1, 2, 3, 4)]
    found = [errors(run, x, y).mean().item() for run in runs]
    unseen_x, unseen_y = threes.problem.validation.tensors
    missed = errors(runs[-1], unseen_x, unseen_y)
    shares = y.bincount(minlength=10) / len(y)
    goal = sum(shares[k] * missed[unseen_y == k].mean() for k in range(10)).item()
    best = min(range(4), key=lambda at: (abs(found[at] - goal), -at))
    assert len(set(found)) > 1
    outcome = pushed(threes, 4)
    for a, b in zip(outcome.after.parameters(), runs[best].parameters(), strict=True):
        assert torch.equal(a, b)
    assert [e for _, e in outcome.traces["forget error"]] == pytest.approx(found)
    assert f"rewound to epoch {best + 1} of 4" in outcome.notes[-1]


@pytest.mark.parametrize(
    ("epochs", "pushing", "first"), [(1, 3, 1), (2, 3, 1), (4, 3, 3), (4, 0, 0)]
)
def test_the_last_of_several_epochs_only_pulls(threes, epochs, pushing, first):
    outcome = pushed(threes, epochs, pushing=pushing, pushes=0.5)
    each = ceil(len(outcome.split.retain) / 128)
    assert len(outcome.traces["loss"]) == epochs * each + first * ceil(0.5 * each)


def test_without_validation_data_it_says_so_and_the_last_epoch_stands(threes):
    outcome = pushed(threes, 2, validation=False)
    assert "no validation data" in outcome.notes[-1]
    assert "validation" not in "".join(pushed(threes, 2, rewind=False, validation=False).notes)


def test_a_class_is_pushed_out_and_never_brought_back_by_rewinding(threes):
    assert "forget error" not in pushed(threes, 2, target=Classes((1,))).traces
    _, seen = threes.unlearned(Scrub())
    assert seen.test_removed.accuracy <= 0.02
    assert seen.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.03
