"""What is special about NegGrad: a bounded climb, with or without the retain set."""

from dataclasses import replace
from math import log

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from expunge import Classes, MultiLabel, Regression, Request, Samples, split
from expunge.batching import Batches
from expunge.errors import Diverged
from expunge.methods.neggrad import NegGrad
from expunge.observing import observe
from expunge.splitting import Part
from expunge.unlearning import seeded, unlearn


def test_a_class_of_digits_is_forgotten_and_the_others_are_kept(threes):
    outcome, after = threes.unlearned(NegGrad())
    assert after.test_removed.accuracy <= 0.02
    assert after.test_kept.accuracy >= threes.before.test_kept.accuracy - 0.03
    assert threes.before.test_removed.accuracy > 0.9
    assert len(outcome.traces["loss"]) == NegGrad().steps


def test_a_bounded_climb_stops_for_good_and_an_unbounded_one_wrecks_the_network(threes):
    alone = NegGrad(steps=80, share=1.0, momentum=0.0)
    short, seen = threes.unlearned(alone)
    longer, _ = threes.unlearned(replace(alone, steps=160))
    assert seen.forget.losses.min() >= log(10)
    for a, b in zip(short.after.parameters(), longer.after.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(Diverged, match="the original model is untouched"):
        threes.unlearned(replace(alone, bounded=False, clip=0.0))


def test_a_sample_beyond_chance_pushes_no_further(threes):
    once, first = threes.unlearned(NegGrad(steps=400, share=1.0, momentum=0.0, lr=0.05))
    del first
    values = [loss for _, loss in once.traces["loss"]]
    assert values[-1] == pytest.approx(-log(10), rel=0.02)
    assert min(values) >= -log(10) - 1e-5


class Guarded(Dataset):
    """A dataset of which only some samples may be looked at."""

    def __init__(self, allowed):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(20, 4, generator=generator)
        self.allowed = allowed

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index not in self.allowed:
            raise LookupError(f"sample {index} was looked at")
        return self.x[index], index % 3


def network(out=3):
    with seeded(0):
        return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, out))


def test_without_the_plus_no_retained_sample_is_ever_looked_at(threes):
    data = Guarded({2, 5})
    request = Request(Samples((2, 5)))
    parts = split(data, request, test=TensorDataset(torch.zeros(2, 4), torch.zeros(2).long()))
    outcome = unlearn(network(), parts, NegGrad(steps=4, share=1.0), task=threes.problem.task)
    assert len(outcome.traces["loss"]) == 4
    with pytest.raises(LookupError):
        unlearn(network(), parts, NegGrad(steps=4, share=0.9), task=threes.problem.task)


def test_with_no_share_of_the_forget_set_only_the_rest_is_learnt(threes):
    _, after = threes.unlearned(NegGrad(share=0.0, steps=40))
    assert after.retain.accuracy >= threes.before.retain.accuracy - 0.01
    assert after.forget.accuracy > 0.5


def test_batch_norm_takes_no_statistics_from_what_must_go(threes):
    with seeded(0):
        model = nn.Sequential(nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 10))
    before = model[1].running_mean.clone()
    after = unlearn(model, threes.split, NegGrad(steps=5), task=threes.problem.task).after
    assert torch.equal(after[1].running_mean, before)
    assert not torch.equal(after[0].weight, model[0].weight)


@pytest.mark.parametrize("task", [MultiLabel(), Regression()])
def test_several_labels_and_numbers_are_climbed_too(task):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(24, 4, generator=generator)
    data = TensorDataset(x, (x[:, :3] > 0).float())
    parts = split(data, Request(Samples((1, 2, 3))), test=data)
    model = network()
    method = NegGrad(steps=20, share=1.0, momentum=0.0)
    after = unlearn(model, parts, method, task=task).after
    before, seen = (observe(m, batches(parts.forget), task).losses for m in (model, after))
    assert seen.mean() > before.mean()


def batches(part):
    return Batches(part, 16)


def test_one_class_among_several_in_one_request(threes):
    parts = split(threes.problem.train, Request(Classes((3, 8))), test=threes.problem.test)
    after = unlearn(threes.original, parts, NegGrad(), task=threes.problem.task).after
    seen = observe(after, batches(Part.whole(threes.problem.test)), threes.problem.task)
    gone = (seen.labels == 3) | (seen.labels == 8)
    assert seen.only(gone).accuracy <= 0.05
    assert seen.only(~gone).accuracy >= 0.9
