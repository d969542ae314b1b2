"""Witnesses: everybody is scored once, by who learnt from others, and by whatever tells more."""

from dataclasses import replace
from math import tau

import torch
from torch import nn

from expunge.algebra.families import linear
from expunge.detaching.surveying import survey
from expunge.detaching.witnessing import Witnesses
from expunge.unlearning import seeded

WIDE = 300


class Plain(nn.Module):
    """A head on features that are the inputs."""

    def __init__(self, inputs):
        super().__init__()
        self.head = nn.Linear(inputs, 2)

    def forward(self, x):
        return self.head(x)


def witnesses(people, aside):
    case = people.case(validation=aside)
    return Witnesses.of(case, survey(case))


def test_every_sample_that_answers_is_scored_once_by_who_never_saw_it(make_people, monkeypatch):
    people, aside = make_people(), make_people(203, seed=1)
    turn = torch.arange(203) * tau / 203
    around = torch.stack([turn.cos(), turn.sin()], 1)
    some = torch.where(torch.arange(203) % 5 == 0, -1, aside.z)
    scored, met = [], []

    def of(asked):
        """Who they are: nobody's features are anybody else's."""
        return torch.cdist(asked.x.double(), around.double()).argmin(1).tolist()

    def watching(learnt, chosen_by):
        def guess(asked):
            if asked is not chosen_by and asked.x.std() > 0:
                scored.extend(of(asked))
                met.extend({*of(asked)} & {*of(learnt), *of(chosen_by)})
            return asked.bets

        return guess

    monkeypatch.setattr("expunge.detaching.witnessing._PROBES", (watching,))
    model = Plain(2)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    with seeded(0):
        asked = witnesses(replace(people, x=people.x[:, :2]), replace(aside, x=around, z=some))
        asked.look(model, 0)
    assert sorted(scored) == (some >= 0).nonzero().flatten().tolist()
    assert met == []


def test_what_logits_alone_show_is_found(make_people, monkeypatch):
    """Features hold it along one direction, so narrow that few samples teach nobody to look."""
    monkeypatch.setattr("expunge.detaching.witnessing._PROBES", (linear,))
    generator = torch.Generator().manual_seed(2)
    way = nn.functional.normalize(torch.randn(WIDE, generator=generator), dim=0)
    noise = torch.randn(400, WIDE, generator=generator)
    aside = make_people(400, seed=1)
    aside = replace(aside, x=noise - (noise @ way)[:, None] * way + 0.01 * aside.z[:, None] * way)
    model = Plain(WIDE)
    with torch.no_grad():
        model.head.weight.copy_(torch.stack([100 * way, -100 * way]))
    with seeded(0):
        asked = witnesses(make_people(), aside)
        (question,) = asked.questions
        rows = asked.unseen.part.indices
        assert question.leak((aside.x[rows],)) < 0.1
        assert asked.look(model, 0).leak > 0.5


def test_an_attribute_that_is_dealt_out_at_random_is_worth_nearly_nothing(make_people):
    aside = make_people(400, seed=1)
    with seeded(1):
        dealt = replace(aside, z=aside.z[torch.randperm(400)])
        assert witnesses(make_people(), dealt).look(Plain(7), 0).leak < 0.02
