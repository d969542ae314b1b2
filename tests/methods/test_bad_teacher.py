"""Bad teacher: what must go is answered as an untrained network would, the rest as before."""

from copy import deepcopy

import torch

from expunge import Classes, Classification, Samples
from expunge.methods.bad_teacher import BadTeacher
from expunge.resetting import reset
from expunge.unlearning import seeded, unlearn


def test_each_side_follows_its_teacher(blobs):
    parts = blobs.split(Classes((1,)))
    how = BadTeacher(steps=400, share=0.5, lr=0.05)
    after = unlearn(blobs.model, parts, how, task=Classification(), seed=9).after
    with seeded(9):  # the teacher is the first that is drawn
        bad = deepcopy(blobs.model)
        reset(bad.modules())
    x = blobs.train.tensors[0]
    with torch.no_grad():
        good, drawn, said = (m(x).softmax(1) for m in (blobs.model, bad, after))
    gone = parts.forget.indices
    apart = (good - drawn)[gone].abs().mean()
    assert (said - drawn)[gone].abs().mean() < 0.1 * apart
    assert (said - good)[parts.retain.indices].abs().mean() < 0.02


def test_an_untrained_teacher_has_nothing_of_the_original_left(blobs, make_blobs):
    model = make_blobs(normalised=True).model
    with seeded(4):
        fresh = deepcopy(model)
        assert reset(fresh.modules()) == []
    assert fresh[1].running_mean.abs().max() == 0
    for name, value in fresh.named_parameters():
        assert name.startswith("1.") or not torch.isin(value, model.get_parameter(name)).any()
    parts = blobs.split(Samples((1, 2)))
    after = unlearn(blobs.model, parts, BadTeacher(steps=0), task=Classification()).after
    assert torch.equal(after[0].weight, blobs.model[0].weight)


def test_weights_that_no_layer_draws_are_shuffled_and_named():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.arange(9.0))

    with seeded(0):
        model = Own()
        assert reset(model.modules()) == ["Own.scale"]
    assert not torch.equal(model.scale, torch.arange(9.0))
    assert torch.equal(model.scale.sort().values, torch.arange(9.0))
