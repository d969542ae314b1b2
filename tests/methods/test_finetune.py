"""What is special about fine-tuning: it forgets little, and says how long it takes."""

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD

from expunge.methods.finetune import Finetune
from expunge.unlearning import seeded, unlearn


def test_a_removed_digit_stays_mostly_known_which_is_its_documented_weakness(threes):
    _, after = threes.unlearned(Finetune(epochs=1, lr=0.01))
    assert after.test_removed.accuracy >= 0.5
    _, longer = threes.unlearned(Finetune())
    assert longer.test_removed.accuracy > 0.1


def test_what_remains_is_kept(threes):
    _, after = threes.unlearned(Finetune())
    assert after.retain.accuracy >= threes.before.retain.accuracy - 0.005
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.02


def test_every_batch_of_every_epoch_is_one_step_and_is_told(threes):
    heard = []
    outcome, _ = threes.unlearned(
        Finetune(epochs=2), progress=lambda _step, done, total: heard.append((done, total))
    )
    batches = -(-len(threes.split.retain) // 128)
    assert heard == [(done, 2 * batches) for done in range(1, 2 * batches + 1)]
    assert len(outcome.traces["loss"]) == 2 * batches


def test_no_forgotten_sample_passes_through(threes):
    seen = []

    class Watching(nn.Linear):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

        def __deepcopy__(self, memo):
            copy = Watching(64, 10)
            copy.load_state_dict(self.state_dict())
            return copy

    with seeded(0):
        model = Watching(64, 10)
    unlearn(model, threes.split, Finetune(epochs=1), task=threes.problem.task)
    rows = {tuple(row.tolist()) for row in torch.cat(seen)}
    x = threes.problem.train.tensors[0]
    assert rows == {tuple(row.tolist()) for row in x[threes.split.retain.indices]}


def test_batch_norm_learns_the_statistics_of_what_remains(threes):
    with seeded(0):
        model = nn.Sequential(nn.Linear(64, 9), nn.BatchNorm1d(9), nn.Linear(9, 10))
    after = unlearn(model, threes.split, Finetune(epochs=1), task=threes.problem.task).after
    assert not torch.equal(after[1].running_mean, model[1].running_mean)


def test_the_rate_falls_along_a_cosine_or_stays_where_it_was_told_to(threes, monkeypatch):
    seen = []
    step = SGD.step

    def watching(self, *args, **kwargs):
        seen.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(SGD, "step", watching)
    for falling in (True, False):
        threes.unlearned(Finetune(epochs=1, lr=0.1, falling=falling))
    half = len(seen) // 2
    cosine = [0.05 * (1 + math.cos(math.pi * t / half)) for t in range(half)]
    assert seen == pytest.approx(cosine + [0.1] * half)
