"""What LEACE tells: what went, what is promised, and that at times nothing was changed."""

import json

import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from expunge import Attribute, Request, split
from expunge.methods.leace import Leace
from expunge.unlearning import unlearn

N, K = 310, 3  # samples and groups of the toy
NOTHING = {"condition_on": "nothing"}


def test_the_notes_say_what_went_and_what_is_promised(toy):
    notes = toy.outcome().notes
    assert notes[0] == "4 directions were removed right before the layer '2', and 9 are left"
    assert notes[1] == "'hat' is 3 groups in each of 2 classes; 0 of 310 samples have no answer"
    assert notes[2].startswith("promised: inside each of 2 classes, no affine probe")
    assert notes[3].startswith("not promised: probes that are not affine, other layers")
    assert "over all samples" in toy.outcome(**NOTHING).notes[2]


def test_where_features_tell_nothing_more_nothing_is_changed_and_that_is_told(toy):
    once = toy.outcome().after
    found = toy.outcome(model=once)
    assert found.notes[-1].startswith("nothing was changed")
    pairs = zip(found.after.state_dict().values(), once.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("count", [24, 40, 60])
def test_of_few_samples_no_feature_is_held_because_they_are_few(toy, count):
    data = TensorDataset(*(each[:count] for each in toy.drawn()))
    assert not any("held" in note for note in toy.outcome(data=data).notes)


def test_a_task_of_one_class_is_served(toy):
    found = toy.outcome(labels=torch.zeros(N, dtype=torch.long))
    _, _, z = toy.drawn()
    assert toy.covariance(toy.features(found.after), F.one_hot(z, K).double()) < 1e-12
    assert found.notes[2].startswith("promised: over all samples")


def test_progress_is_told_in_passes_over_the_retain_set(toy):
    heard = []
    x, y, z = toy.drawn()
    data = TensorDataset(x, y, z)
    parts = split(data, Request(Attribute("hat")), test=data)
    unlearn(
        toy.network(), parts, Leace(), task=toy.task(), progress=lambda *told: heard.append(told)
    )
    assert heard == [("unlearn", 1, 1)]


def test_settings_are_json():
    assert json.dumps(Leace().describe(), sort_keys=True) == (
        '{"condition_on": "task", "l2": 0.001, "rare": 20, "refit": true, "views": null}'
    )
