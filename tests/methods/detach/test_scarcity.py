"""Few samples, few answers, features that hardly vary: Detach spoils nothing, and tells."""

import torch
from torch import nn
from torch.nn import functional as F

from expunge.fitting import Fit
from expunge.unlearning import seeded

D = 9  # inputs of the toy


def right(model, people):
    with torch.no_grad():
        return (model(people.x).argmax(1) == people.y).double().mean().item()


def test_of_forty_samples_enough_is_left_for_the_task(toy):
    """Every feature varies in about a third of them, and so in few."""
    x = torch.randn(340, D, generator=torch.Generator().manual_seed(4))
    y, z = (x[:, 5] > 0).long(), (x[:, 0] > 0).long()
    few, others = (toy.people(x[rows], y[rows], z[rows]) for rows in (slice(40), slice(40, None)))
    with seeded(1):
        model = Fit(20, 0.05, 10)(nn.Sequential(nn.Linear(D, 13), nn.Linear(13, 2)), few.data)
    found = toy.outcome(few, model=model, batch=10)
    assert right(model, others) > 0.8
    assert right(found.after, others) > 0.8


def test_features_that_are_held_are_counted(toy):
    people, model, said = toy.drawn(), toy.network(), []
    for _ in range(2):
        notes = toy.outcome(people, model=model, lr=1e-6).notes
        (note,) = [each for each in notes if "in too few samples, and are held" in each]
        said.append(int(note.split()[-1]))
        with torch.no_grad():
            h = F.linear(model[:2](people.x), model[2].weight[:2])
            model[2].bias[:2] = -h.sort(0).values[-6]  # five samples are above
    assert said[1] == said[0] + 2


def test_batches_in_which_nobody_answers_are_not_taken_for_knowledge(toy):
    people = toy.drawn()
    few = torch.where(torch.arange(200) % 40 == 0, people.z, -1)
    bits = []
    for seed in range(4):  # by chance critics know a little of five answers
        noise = torch.randn(people.x.shape, generator=torch.Generator().manual_seed(seed))
        found = toy.outcome(toy.people(noise, people.y, few), erase=False, batch=5, epochs=2)
        assert len(found.traces["bits of ink that critics know"]) <= 10
        (note,) = [note for note in found.notes if "critics knew" in note]
        bits.append(float(note.split()[6]))
    assert sum(bits) / 4 < 0.5


def test_none_but_the_directions_of_the_task_may_be_carried(toy):
    found = toy.outcome(carry=0)
    assert "features keep no more than those that tell the classes" in "\n".join(found.notes)
    assert toy.weights(found.after).isfinite().all()
