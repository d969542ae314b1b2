"""Combine: the parts one after the other, and what all of them can."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from expunge import Attribute, Classes, Classification, Samples
from expunge.batching import Batches
from expunge.cli.steps import method_of, settings_for
from expunge.errors import BadSetting, TargetMismatch, UnknownName
from expunge.method import Method
from expunge.methods.boundary_shrink import BoundaryShrink
from expunge.methods.catastrophic_layers import CatastrophicLayers
from expunge.methods.combine import Combine
from expunge.methods.finetune import Finetune
from expunge.methods.leace import Leace
from expunge.methods.neggrad import NegGrad
from expunge.methods.reversal import Reversal
from expunge.unlearning import seeded, unlearn

TASK = Classification()


@dataclass(frozen=True)
class Doubling(Method):
    """Doubles every weight, and draws a number."""

    reshapes = True
    by: float = 2.0

    def forget(self, model, case):
        case.report.note(f"drew {torch.rand(1).item():.6f}")
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(self.by)
        return model


def test_each_part_begins_where_the_one_before_it_ended(blobs):
    parts = blobs.split(Samples((4, 7)))
    how = Combine((Doubling(), Finetune(epochs=1), Doubling(by=3.0)))
    outcome = unlearn(blobs.model, parts, how, task=TASK, seed=3)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))
    model.load_state_dict(blobs.model.state_dict())
    case = replace(blobs.case(parts), retain=Batches(parts.retain, shuffle=True))
    with seeded(3):
        for part in how.methods:
            model = part.forget(model.eval(), case)
    for a, b in zip(outcome.after.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len(outcome.notes) == 2
    assert outcome.notes[0].split(": ")[0] + " (2)" == outcome.notes[1].split(": ")[0]


def test_it_can_what_all_of_its_parts_can(blobs):
    both = Combine((BoundaryShrink(), Finetune()))
    assert both.handles == (Classes,)
    assert both.tasks == ("classification",)
    assert not both.reshapes
    assert Combine((Finetune(), Doubling())).reshapes
    assert Combine((Leace(), Reversal())).handles == (Attribute,)
    with pytest.raises(TargetMismatch):
        unlearn(blobs.model, blobs.split(Samples((1,))), both, task=TASK)
    with pytest.raises(BadSetting, match="no request suits all parts"):
        Combine((Reversal(), Finetune()))
    with pytest.raises(BadSetting, match="methods is empty"):
        Combine(())


def test_what_one_part_froze_the_next_may_learn_and_steps_are_counted_through(blobs):
    heard, parts = [], blobs.split(Classes((1,)))
    how = Combine((CatastrophicLayers(layers=1, epochs=1), Finetune(epochs=2)))
    outcome = unlearn(
        blobs.model,
        parts,
        how,
        task=TASK,
        progress=lambda _, done, total: heard.append((done, total)),
    )
    assert not torch.equal(outcome.after[0].weight, blobs.model[0].weight)
    steps = len(outcome.traces["loss"])
    assert [at for at, _ in outcome.traces["loss"]] == [*range(1, steps + 1)]
    assert [done for done, _ in heard] == [*range(1, steps + 1)]
    assert heard[-1] == (steps, steps)


def test_it_describes_its_parts_and_their_numbers_are_looked_at(blobs):
    how = Combine((NegGrad(steps=7), Finetune(epochs=2), Finetune(epochs=3)))
    assert how.name == "neggrad,finetune,finetune"
    told = how.describe()
    assert (told["neggrad.steps"], told["finetune.epochs"], told["finetune (2).epochs"]) == (
        7,
        2,
        3,
    )
    with pytest.raises(BadSetting, match="NegGrad got lr"):
        unlearn(blobs.model, blobs.split(Samples((1,))), Combine((NegGrad(lr=-1.0),)), task=TASK)


def test_the_command_line_combines_by_commas_and_sets_parts_by_name():
    texts = {"neggrad.steps": "7", "lr": "0.3", "epochs": "4"}
    found = method_of("neggrad,finetune", texts, None)
    assert found == Combine((NegGrad(steps=7, lr=0.3), Finetune(epochs=4, lr=0.3)))
    with pytest.raises(UnknownName, match="epoch"):
        method_of("neggrad,finetune", {"epoch": "4"}, None)
    with pytest.raises(UnknownName, match="duck"):
        method_of("neggrad,finetune", {"duck.epochs": "4"}, None)
    compared = settings_for("neggrad,finetune", texts, ["neggrad,finetune", "duck"])
    assert compared == texts
    assert settings_for("duck", texts, ["neggrad,finetune", "duck"]) == {"lr": "0.3", "epochs": "4"}
