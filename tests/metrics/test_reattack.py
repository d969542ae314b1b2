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
from expunge.representing import untrained
from expunge.seeding import seeded

ASIDE, TEST, D, C = 80, 200, 4, 3
TASK = Classification(attributes={"sign": lambda batch: batch[2]})
MEAN, ABOVE = "re-attack (bits), sign", "re-attack above an untrained model (bits), sign"
STAYS = "layers that say what they said (share), sign"
KEEP = torch.tensor([1.0, 1.0, 1.0, 0.0])
MASKS = {
    "affine": lambda x: x * KEEP,
    "rounded": lambda x: (x * KEEP).round(),
    "cut off": lambda x: (x * KEEP).detach(),
}


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


class Said(nn.Module):
    """Whatever a function says of what comes in."""

    def __init__(self, say):
        super().__init__()
        self.say = say

    def forward(self, x):
        return self.say(x)


def deaf():
    """Never sees the sign; the same whichever tests drew numbers before."""
    with seeded(0):
        return nn.Sequential(Said(lambda x: x[:, :3]), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, C))


def masked(mask, encoder=None):
    """The original, and something before its head that hides the sign."""
    *layers, head = encoder or net()
    return nn.Sequential(*layers, Said(mask), head).eval()


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
    for name, m in found.items():
        assert name == STAYS or m.value is None or m.value == pytest.approx(0, abs=0.05)


def test_what_is_known_sooner_than_by_an_untrained_model_was_still_there():
    found = measured(trial(net(), net()), build=deaf, steps=20)
    assert found[ABOVE].value == pytest.approx(found[MEAN].value, abs=0.01)
    fresh = untrained(deaf, torch.device("cpu"))
    assert measured(trial(fresh, fresh), build=deaf, steps=10)[ABOVE].value == 0
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
    found = measured(found)
    assert "is the same for all" in found[MEAN].note
    assert "is the same for all" in found[ABOVE].note


def scrambled():
    """The original with its units in another order and of other sizes, and noise on its weights."""
    model, draw = net(), torch.Generator().manual_seed(2)
    with torch.no_grad():
        turned = model[0].weight[[2, 0, 3, 1]] * torch.tensor([1.0, 1e3, 1e-3, 20])[:, None]
        model[0].weight.copy_(turned * (1 + 0.01 * torch.randn(D, D, generator=draw)))
    return model


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_what_a_mask_hides_behind_an_untouched_encoder_is_found_before_it(mask):
    found = measured(trial(net(), masked(mask)), build=deaf, steps=20)
    assert found[MEAN].value == found[MEAN].original.value
    assert found[ABOVE].interval[0] > 0.3
    assert "read at '2' too: 2 of 2 layers with weights say what" in found[ABOVE].note
    assert (found[STAYS].value, found[STAYS].n) == (1, 2)


def test_a_mask_before_all_weights_of_the_original_erases_nothing_of_them():
    blinkered = nn.Sequential(Said(lambda x: x * KEEP), *net()).eval()
    found = measured(trial(net(), blinkered), build=deaf, steps=20)
    assert found[MEAN].value == found[MEAN].original.value > 0.3
    assert "all weights of the original's layers stand in it" in found[ABOVE].note
    with torch.no_grad():
        blinkered[1].weight.mul_(1.2)
    found = measured(trial(net(), blinkered), steps=20)
    assert found[MEAN].value == pytest.approx(0, abs=0.05)


def test_neither_order_nor_size_of_units_nor_noise_makes_an_encoder_another():
    before, after = (nn.Sequential(m[0], nn.Identity(), *m[1:]) for m in (net(), scrambled()))
    hiding = masked(lambda x: (x @ torch.diag(torch.tensor([1.0, 1, 0, 1]))).detach(), after)
    found = measured(trial(before, hiding), build=deaf, steps=20)
    assert found[STAYS].value == 1
    assert found[ABOVE].interval[0] > 0.3


def test_a_mask_is_found_before_layers_that_say_nearly_what_they_said():
    class Nearly(nn.Module):
        def __init__(self, keep):
            super().__init__()
            self.body, self.keep, self.more = nn.Linear(D, D), keep, nn.Linear(30, 30)
            self.head = nn.Linear(30, C)
            with torch.no_grad():
                self.body.weight.copy_(torch.eye(D))
                self.more.weight.copy_(torch.eye(30))
                self.more.bias.fill_(0.1)

        def forward(self, x):
            x = self.body(x)
            many = torch.cat([x[:, :1] * k for k in range(1, 30)] + [x[:, 3:] * self.keep], 1)
            return self.head(self.more(many).relu())

    with seeded(0):
        models = Nearly(1.0), Nearly(0.0)
    found = measured(trial(*models), build=deaf, steps=20)
    assert "read at 'more' and 'body' too" in found[MEAN].note
    assert found[ABOVE].interval[0] > 0.3


def test_what_cannot_be_trained_is_not_measured():
    other = net()
    with torch.no_grad():
        other[0].weight.copy_(torch.ones(D, D) + torch.eye(D))  # nothing of it is the original's
    found = measured(trial(net(), masked(MASKS["cut off"], other)), build=deaf, steps=20)
    for name in (MEAN, ABOVE):
        assert found[name].value is None
        assert "no slope gets from the features of the unlearned model" in found[name].note
    assert found[STAYS].value == 0
    found = measured(trial(masked(MASKS["cut off"]), net()), steps=20)
    assert "no slope gets from the features of the original model" in found[MEAN].note


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_scale_of_weights_hides_nothing(size):
    plain, scaled = (nn.Sequential(nn.Linear(D, D), nn.Linear(D, C)) for _ in range(2))
    with torch.no_grad():
        for model, by in ((plain, 1.0), (scaled, size)):
            model[0].weight.copy_(by * (torch.eye(D) * 0.5 + 0.5))
            model[0].weight[3] = by * torch.tensor([0.3, 0.3, 0.3, 0.0])  # the sign is to be learnt
            model[0].bias.zero_()
    want, found = (measured(trial(m, m), steps=60, lr=0.01) for m in (plain, scaled))
    assert found[MEAN].value == pytest.approx(want[MEAN].value, abs=0.02)
    assert found[MEAN].value > 0.5


def test_half_precision_hides_nothing():
    found = trial(net(), net())
    want = measured(found, steps=20)[MEAN].value
    for part in (found.outcome.split.test, found.outcome.split.validation):
        x, *rest = part.source.tensors
        part.source.tensors = (x.half(), *rest)
    for model in (found.outcome.before, found.outcome.after):
        model.half()
    assert measured(found, steps=20)[MEAN].original.value == pytest.approx(want, abs=0.02)
    assert found.outcome.before[0].weight.dtype == torch.half
