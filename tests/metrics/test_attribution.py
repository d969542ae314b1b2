"""Attributions: closed forms, what may be looked at, and what must stay hidden."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Classification, Evidence, Outcome, Request, Samples, audit, split
from expunge.algebra.attributing import rank_correlation
from expunge.algebra.statistics import mean_interval
from expunge.ensembles import Reference, References
from expunge.errors import BadSetting, MissingInput
from expunge.metric import Trial
from expunge.metrics.attribution import Attribution
from expunge.observing import snapshot

HEIGHT, WIDTH, CLASSES = 7, 5, 3
LIKENESS = "attribution rank correlation"
SANITY = "attribution sanity (randomised weights)"
GAP = "attribution completeness error"
MASS = "attribution mass in the region"


def linear(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(HEIGHT * WIDTH, CLASSES))


def curved(seed):
    torch.manual_seed(seed)
    layers = [nn.Linear(HEIGHT * WIDTH, 23), nn.Tanh(), nn.Linear(23, CLASSES)]
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        yield


def data(count, seed, shape=(1, HEIGHT, WIDTH), dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(count, *shape, generator=draw).to(dtype), torch.arange(count) % CLASSES
    )


def trial_of(after, *retrained, target=None, before=None, task=None, **form):
    target = Samples(tuple(range(1, 20))) if target is None else target
    parts = split(data(60, 1, **form), Request(target), test=data(41, 2, **form))
    task, before = task or Classification(), before or after
    look = [snapshot(model, parts, task) for model in (before, after, *retrained)]
    members = tuple(
        Reference(lambda model=model: model, seen, seed, 1.0, "")
        for seed, (model, seen) in enumerate(zip(retrained, look[2:], strict=True))
    )
    outcome = Outcome.of(before, after, parts, task=task)
    return Trial(outcome, look[0], look[1], References(members) if members else None)


def measured(trial, **settings):
    return {m.name: m for m in Attribution(**{"steps": 8} | settings).measure(trial)}


def test_the_maps_of_a_class_are_those_of_its_test_samples():
    model, other = linear(0), linear(1)
    trial = trial_of(model, other, target=Classes((2,)))
    x = torch.stack([row for row, label in trial.outcome.split.test.source if label == 2])
    mine, theirs = ((net[1].weight[2] * x.flatten(1)).abs().detach() for net in (model, other))
    expected = mean_interval(rank_correlation(mine, theirs))
    found = measured(trial, baseline="zero")[LIKENESS]
    assert found.value == pytest.approx(expected.value, abs=1e-6)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert found.n == len(x)


def test_the_maps_of_samples_are_those_of_forgotten_ones_from_the_mean_of_what_stays():
    model, other = linear(0), linear(1)
    trial = trial_of(model, other)
    parts = trial.outcome.split
    x, y = (column[parts.forget.indices] for column in parts.forget.source.tensors)
    path = (x - parts.retain.source.tensors[0][parts.retain.indices].mean(0)).flatten(1)
    mine, theirs = ((net[1].weight[y] * path).abs().detach() for net in (model, other))
    found = measured(trial)[LIKENESS]
    assert found.value == pytest.approx(rank_correlation(mine, theirs).mean().item(), abs=1e-4)
    assert found.n == len(x)


def test_a_reference_is_like_itself_and_two_references_tell_how_alike_two_are():
    first, second = curved(1), curved(2)
    found = measured(trial_of(first, first, second, before=curved(0)), references=1)[LIKENESS]
    assert found.value == pytest.approx(1.0)
    assert found.target == ()
    assert "not known" in found.note
    assert found.original.value < 0.9
    both = measured(trial_of(first, first, second))[LIKENESS]
    assert both.note == ""
    assert both.value == pytest.approx((1 + both.target[0]) / 2)


def test_without_references_only_the_comparison_is_missing():
    found = measured(trial_of(curved(0)), region=(0, 2, 0, 2))
    assert found[LIKENESS].value is None
    assert "no reference" in found[LIKENESS].note
    assert all(found[name].value is not None for name in (SANITY, GAP, MASS))


def test_too_few_steps_are_noticed_and_enough_are_not():
    trial = trial_of(curved(0))
    rough, fine = measured(trial, steps=1)[GAP], measured(trial, steps=64)[GAP]
    assert rough.value > 0.05
    assert "more than 1 steps" in rough.note
    assert fine.value < 0.01
    assert fine.note == ""


def test_shuffled_weights_change_the_maps_of_a_model_that_learnt_something():
    model = curved(0)
    found = measured(trial_of(model))[SANITY]
    assert -1 <= found.value < 0.8
    assert found.interval[0] < found.value < found.interval[1]


def test_maps_that_shuffling_does_not_change_are_said_to_be_about_the_inputs():
    model = linear(0)
    nn.init.constant_(model[1].weight, 0.5)
    found = measured(trial_of(model))[SANITY]
    assert found.value == pytest.approx(1.0)
    assert "not about the model" in found.note


def test_the_mass_in_a_region_is_one_where_the_model_looks_nowhere_else():
    inside, spread = linear(0), linear(1)
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[1:3, 2:5] = 1
    inside[1].weight.data *= mask.flatten()
    trial = trial_of(inside, spread, before=spread)
    found = measured(trial, region=(1, 3, 2, 5))[MASS]
    assert found.value == pytest.approx(1.0)
    assert found.original.value == pytest.approx(found.target[0])
    assert found.original.value < 0.5
    assert measured(trial, region=(3, 7, 0, 5))[MASS].value == pytest.approx(0.0)


@pytest.mark.parametrize("region", [(0, 8, 0, 2), (2, 2, 0, 1), (-1, 2, 0, 1), (0, 1, 3, 6)])
def test_a_region_outside_the_pictures_is_refused(region):
    with pytest.raises(BadSetting, match="7 rows and 5 columns"):
        measured(trial_of(linear(0)), region=region)


@pytest.mark.parametrize("name", ["samples", "steps", "references"])
def test_nothing_can_be_looked_at_zero_times(name):
    with pytest.raises(BadSetting, match=f"{name} is 0"):
        measured(trial_of(linear(0)), **{name: 0})


def test_a_region_of_inputs_without_rows_is_not_measured():
    found = measured(trial_of(linear(0), shape=(HEIGHT * WIDTH,)), region=(0, 1, 0, 1))
    assert "no rows and columns" in found[MASS].note
    assert found[GAP].value is not None


def test_at_most_so_many_samples_are_looked_at():
    found = measured(trial_of(linear(0), linear(1)), samples=7)
    assert {m.n for m in found.values()} == {7}


def asking(model, **settings):
    task = Classification(**settings)
    return [*Attribution().measure(trial_of(model, task=task))]


class Rounded(nn.Module):
    """A model whose answers have no slope."""

    def __init__(self):
        super().__init__()
        self.body = linear(0)

    def forward(self, x):
        return self.body(x).detach().round()


def test_what_cannot_be_differentiated_is_not_measured():
    with pytest.raises(MissingInput, match="one floating-point tensor, not dict"):
        asking(Mapped(), inputs=lambda batch: {"x": batch[0]})
    with pytest.raises(MissingInput, match="no gradient with respect to the inputs"):
        asking(Rounded())
    with pytest.raises(MissingInput, match="cannot be put back"):
        asking(linear(0), inputs=lambda batch: batch[0] * 2)


class Mapped(nn.Module):
    """A model that reads a mapping."""

    def __init__(self):
        super().__init__()
        self.body = linear(0)

    def forward(self, x):
        return self.body(x)


def test_a_model_that_ignores_its_inputs_stands_out_nowhere():
    model = linear(0)
    nn.init.zeros_(model[1].weight)
    found = measured(trial_of(model, linear(1)))
    assert "constant" in found[LIKENESS].note
    assert found[GAP].value < 1e-5


def test_half_precision_is_looked_at_too():
    model = curved(0).to(torch.bfloat16)
    trial = trial_of(model, dtype=torch.bfloat16)
    assert measured(trial)[SANITY].value is not None


def test_models_come_back_as_they_were():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.BatchNorm1d(35), *curved(0)[1:])
    model.train()
    model[3].requires_grad_(requires_grad=False)
    trial = trial_of(model, target=Classes((1,)))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    rows = trial.outcome.split.test.source.tensors[0].clone()
    drawn = torch.get_rng_state()
    measured(trial)
    assert all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert not model[3].weight.requires_grad
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(rows, trial.outcome.split.test.source.tensors[0])
    assert torch.equal(drawn, torch.get_rng_state())


def test_the_heat_map_is_pooled_and_every_model_has_one_whole():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 40 * 23, CLASSES))
    trial = trial_of(model, model, shape=(2, 40, 23))
    exhibit = measured(trial)[LIKENESS].exhibit
    assert exhibit.kind == "matrix"
    assert max(exhibit.columns["row"]) == max(exhibit.columns["column"]) == 15
    for name in ("original", "unlearned", "retrained"):
        pairs = zip(exhibit.columns["attribution"], exhibit.columns["model"], strict=True)
        own = [share for share, model in pairs if model == name]
        assert len(own) == 16 * 16
        assert sum(own) == pytest.approx(1.0, abs=1e-3)


def test_rows_of_features_are_bars_of_the_strongest():
    model = nn.Linear(35, CLASSES)
    nn.init.zeros_(model.weight)
    model.weight.data[:, 17] = 3.0
    model.weight.data[:, 4] = 0.5
    exhibit = measured(trial_of(model, shape=(35,)), baseline="zero")[LIKENESS].exhibit
    assert exhibit.kind == "bars"
    assert exhibit.columns["feature"][::2][:2] == ["17", "4"]
    assert len(set(exhibit.columns["feature"])) == 20


def test_a_mean_of_few_samples_is_kept_only_where_samples_may_be_shown():
    few = trial_of(linear(0), target=Samples((3, 4, 5, 6)))
    assert all(m.exhibit is None for m in measured(few).values())
    assert measured(few, with_samples=True)[LIKENESS].exhibit
    many = trial_of(linear(0), target=Samples((3, 4, 5, 6, 7)))
    assert measured(many)[LIKENESS].exhibit


def test_no_picture_of_a_sample_is_written_unless_asked_for():
    outcome = trial_of(curved(0)).outcome
    text = audit(outcome, [Attribution()]).to_json()
    assert "data:image" not in text
    shown = audit(outcome, [Attribution(with_samples=True)])
    assert shown.to_json().count("data:image/png;base64,") == 6 * 4  # input and three maps
    again = Evidence.from_json(shown.to_json())
    assert again.to_json() == shown.to_json()
    pictures = again.measurement(SANITY).exhibit
    assert set(pictures.columns["model"]) == {"input", "original", "unlearned", "shuffled"}
    assert set(pictures.columns["sample"]) == set("123456")


def test_samples_that_are_no_pictures_are_never_shown():
    outcome = trial_of(linear(0), shape=(HEIGHT * WIDTH,)).outcome
    assert "data:image" not in audit(outcome, [Attribution(with_samples=True)]).to_json()


def test_an_audit_tells_why_nothing_could_be_looked_at():
    trial = trial_of(linear(0))
    outcome = replace(trial.outcome, before=Rounded(), after=Rounded())
    found = audit(outcome, [Attribution()]).measurement("attribution")
    assert "no gradient" in found.note
