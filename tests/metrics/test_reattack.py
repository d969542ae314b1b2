"""What comes back when the whole network is trained to tell it."""

from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification, Outcome, Request, Samples, split
from expunge.ensembles import Reference, References
from expunge.errors import BadSetting, MissingInput
from expunge.metric import Trial
from expunge.metrics.reattack import Reattack
from expunge.observing import snapshot

ASIDE, TEST, D, C = 80, 200, 4, 3
TASK = Classification(attributes={"sign": lambda batch: batch[2]})
MEAN, ABOVE = "re-attack (bits), sign", "re-attack above an untrained model (bits), sign"


def data(n, seed, *, told=True):
    draw = torch.Generator().manual_seed(seed)
    y, z = (torch.randint(many, (n,), generator=draw) for many in (C, 2))
    x = torch.randn(n, D, generator=draw)
    x[torch.arange(n), y] += 2
    x[:, 3] = 2.0 * z - 1 if told else 0.0
    return TensorDataset(x, y, z)


def net(keep=1.0):
    """Features are the inputs, the sign times ``keep``."""
    model = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Dropout(0.1), nn.Linear(D, C))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(D))
        model[0].weight[3, 3] = keep
        model[0].bias.zero_()
    return model.requires_grad_(requires_grad=False).eval()


def deaf():
    """Learns nothing: no slope reaches its weights, and its features are zero."""
    return nn.Sequential(nn.Linear(D, 2), nn.Threshold(1e9, 0.0), nn.Linear(2, C))


def trial(before, after, *, told=True, target=None, references=()):
    made = [data(n, seed, told=told) for seed, n in enumerate((9, TEST, ASIDE))]
    request = Request(target or Attribute("sign"))
    parts = split(made[0], request, test=made[1], validation=made[2])
    look = [snapshot(model, parts, TASK) for model in (before, after)]
    members = [Reference(lambda m=m: m, look[0], k, 1.0, "") for k, m in enumerate(references)]
    outcome = Outcome.of(before, after, parts, task=TASK)
    return Trial(outcome, *look, References(tuple(members)) if members else None)


def measured(found, **settings):
    metric = Reattack(**{"labels": (8,), "steps": 40, "lr": 0.02, **settings})
    return {m.name: m for m in metric.measure(found)}


@cache
def hidden():
    """A column is zero that training could restore."""
    return measured(trial(net(), net(keep=0.0)))


def test_a_sign_that_stands_in_the_inputs_comes_back_the_more_labels_there_are():
    found = hidden()
    few, many = (found[f"re-attack with {k} labels (bits), sign"] for k in ("8", "all"))
    assert many.value > 0.8
    assert few.value < many.value
    assert found[MEAN].value == pytest.approx((few.value + many.value) / 2)
    assert found[MEAN].original.value >= found[MEAN].value - 0.1
    assert many.note == f"{ASIDE + TEST // 5} labels were known"
    assert many.n == 3 * TEST // 5


def test_a_sign_that_inputs_do_not_hold_cannot_come_back():
    found = measured(trial(net(), net(), told=False))
    for m in found.values():
        assert m.value is None or m.value == pytest.approx(0, abs=0.05)


def test_what_is_known_sooner_than_by_an_untrained_model_was_still_there():
    found = measured(trial(net(), net()), build=deaf, steps=20)
    assert found[ABOVE].value == pytest.approx(found[MEAN].value, abs=0.01)
    same = measured(trial(deaf(), deaf()), build=deaf, steps=10)
    assert same[ABOVE].value == pytest.approx(0, abs=0.01)
    assert (found[ABOVE].floor, found[MEAN].floor) == (0.05, None)
    missing = hidden()[ABOVE]
    assert "no way to build an untrained model" in missing.note


def test_every_model_has_its_curve():
    found = trial(net(), net(), references=[deaf(), net()])
    found = measured(found, build=deaf, steps=10)[MEAN]
    columns = found.exhibit.columns
    assert [*dict.fromkeys(columns["model"])] == ["original", "unlearned", "retrained", "untrained"]
    assert set(columns["labels"]) == {8, ASIDE + TEST // 5}
    assert len(columns["AUC"]) == 8
    assert found.target == pytest.approx((0,), abs=0.01)  # of references the first alone


def test_models_are_left_as_they_were():
    before, after = net(), net(keep=0.0)
    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in (before, after)]
    found, drawn = trial(before, after), torch.get_rng_state()
    once = measured(found, steps=10)
    for model, state in zip((before, after), states, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
        assert not any(m.training for m in model.modules())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert measured(found, steps=10) == once


def test_more_labels_than_there_are_is_all_of_them():
    found = measured(trial(net(), net()), labels=(8, 5000), steps=10)
    assert [name for name in found if "with" in name] == [
        "re-attack with 8 labels (bits), sign",
        "re-attack with all labels (bits), sign",
    ]


@pytest.mark.parametrize("settings", [{"labels": (1,)}, {"steps": 3}, {"batch": 1}])
def test_an_attack_that_can_learn_nothing_is_refused(settings):
    with pytest.raises(BadSetting, match="can learn nothing"):
        measured(trial(net(), net()), **settings)


def test_without_an_attribute_that_leaves_nothing_is_measured():
    with pytest.raises(MissingInput, match="no request names an attribute"):
        measured(trial(net(), net(), target=Samples((1,))))


def test_an_attribute_without_two_groups_says_so():
    found = trial(net(), net())
    for part in (found.outcome.split.test, found.outcome.split.validation):
        part.source.tensors[2][:] = 1
    (only,) = measured(found).values()
    assert "is the same for all" in only.note
