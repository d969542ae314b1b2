"""What is special about L-CODEC: few weights move, against what a sample pulled, or none do."""

from dataclasses import replace
from json import dumps

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Classes, Regression, Request, Samples, split
from expunge.algebra import curvature
from expunge.batching import Batches
from expunge.errors import BadSetting, Diverged, ModelDoesNotFit
from expunge.methods.lcodec import Lcodec
from expunge.observing import observe
from expunge.testing import toy
from expunge.unlearning import unlearn

WIDTH = 17  # parameters behind a unit of the toy's last layer


def forgotten(problem, **settings):
    """The outcome with validation data, which the toy has not set aside."""
    parts = replace(problem.split, validation=problem.split.test)
    method = Lcodec(**{"perturbations": 64, "utility_drop": 1.0, **settings})
    return unlearn(problem.model, parts, method, task=problem.task)


@pytest.fixture(scope="module")
def five():
    """Five samples that must go, from a network that is left as it is."""
    return toy()


@pytest.fixture(scope="module")
def pair():
    return toy(Samples((7, 11)))


def weights(model):
    """Every number that may change, end to end."""
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


def unchanged(outcome):
    after = outcome.after.state_dict()
    return all(torch.equal(v, after[k]) for k, v in outcome.before.state_dict().items())


def slope(problem):
    """The gradient of the summed loss of what must go."""
    batch = problem.split.forget.source[problem.split.forget.indices]
    loss = problem.task.loss(problem.model, batch).sum()
    learning = [p for p in problem.model.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, learning)])


WAYS = [
    *({"curvature": kind} for kind in ("ggn", "hessian", "fisher", "secant", "none")),
    *({"selection": kind} for kind in ("cheap", "random", "one", "full")),
    *({"selection": "full", "curvature": kind} for kind in ("fisher", "secant", "none")),
    {"faithful": True},
    {"faithful": True, "selection": "full"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_a_step_goes_up_the_slope_of_what_leaves_and_its_loss_rises(pair, way):
    outcome = forgotten(pair, at_once=0, **way)
    step = weights(outcome.after) - weights(outcome.before)
    ((_, before),), ((_, after),) = (outcome.traces[f"{when} loss"] for when in ("before", "after"))
    assert "2 of 2 samples were taken out" in outcome.notes
    assert float(step @ slope(pair)) > 0
    assert after > before


def test_one_after_another_every_sample_is_told_of_and_known_less(five):
    outcome = forgotten(five)
    before, after = (dict(outcome.traces[f"{when} loss"]) for when in ("before", "after"))
    assert "5 of 5 samples were taken out" in outcome.notes
    assert [*before] == [1, 2, 3, 4, 5]
    assert all(after[place] > before[place] for place in before)


@pytest.mark.parametrize("curvature", ["ggn", "none"])
def test_only_the_parameters_behind_chosen_units_move(pair, curvature):
    outcome = forgotten(pair, at_once=0, max_features=2, curvature=curvature)
    last, before = outcome.after[2], outcome.before[2]
    rows = (last.weight != before.weight).any(1) | (last.bias != before.bias)
    assert 0 < rows.sum() <= 2
    told = f"{rows.sum() * WIDTH} of {3 * WIDTH} parameters moved in a step, on average"
    assert told in outcome.notes


def test_full_selection_moves_every_number_that_may_learn(pair):
    outcome = forgotten(pair, at_once=0, selection="full", l2=0.1)
    assert (weights(outcome.after) != weights(outcome.before)).all()
    assert not any("parameters moved" in note for note in outcome.notes)


@pytest.mark.parametrize("selection", ["foci", "full"])
def test_frozen_layers_and_statistics_of_batch_norm_stay_as_they_were(selection):
    problem = toy(normalised=True)
    noisy = {"epsilon": 1.0, "noise": "all", "curvature": "fisher"}
    outcome = forgotten(problem, selection=selection, at_once=0, **noisy)
    after = outcome.after.state_dict()
    for name, value in problem.model.state_dict().items():
        moves = name in ("3.weight", "3.bias", "1.weight", "1.bias")
        assert torch.equal(after[name], value) is not moves


def test_a_class_leaves_as_its_samples_do():
    problem = toy(Classes((1,)))
    outcome = forgotten(problem, at_once=9)
    count = len(problem.split.forget)
    assert count > 18
    assert f"{count} of {count} samples were taken out" in outcome.notes
    assert len(outcome.traces["loss"]) == -(-count // 9)


def test_a_step_is_no_longer_than_its_share_of_the_weights_that_it_moves(pair):
    outcome = forgotten(pair, at_once=0, selection="full", trust=1e-3)
    step = (weights(outcome.after) - weights(outcome.before)).norm()
    assert step / weights(outcome.before).norm() == pytest.approx(1e-3, rel=1e-3)
    assert "a step was cut to 0% of the weights that it moves" in outcome.notes
    assert not any("was cut" in note for note in forgotten(pair, trust=9.0).notes)


WILD = {"selection": "full", "curvature": "none", "damping": 1e-6, "trust": 50.0}


def test_steps_that_cost_too_much_are_taken_back_bit_for_bit(five):
    assert not unchanged(forgotten(five, **WILD, at_once=0))
    outcome = forgotten(five, **WILD, at_once=0, utility_drop=0.0)
    assert unchanged(outcome)
    assert "retrain for samples 1, 2, 3, 4, 5 of the 5 that must go" in outcome.notes[0]


def test_some_may_be_taken_out_and_others_not_and_no_more_is_lost_than_allowed(five):
    guarded, unguarded = (forgotten(five, curvature="none", utility_drop=d) for d in (0.05, 1.0))
    models, test = (guarded.before, guarded.after, unguarded.after), Batches(five.split.test)
    before, after, wild = (observe(model, test, five.task).accuracy for model in models)
    assert not unchanged(guarded)
    assert guarded.notes[0].startswith("retrain for sample")
    assert wild < before - 0.05 <= after


def test_a_step_of_no_length_forgets_nothing_and_says_so(five):
    outcome = forgotten(five, trust=0.0)
    assert unchanged(outcome)
    assert "retrain for samples 1, 2, 3, 4, 5 of the 5 that must go" in outcome.notes[0]
    assert outcome.notes[1] == "0 of 5 samples were taken out"


class Outlier:
    """A line through thirty numbers, and one far off that bends the loss more than all of them."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(31, 4, generator=generator).double()
        self.x[6] *= 100
        self.y = torch.randn(31, 1, generator=generator).double()
        self.data = TensorDataset(self.x, self.y)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Linear(4, 1).double()

    def without(self, place, **settings):
        parts = split(self.data, Request(Samples((place,))), test=self.data)
        method = Lcodec("full", faithful=True, trust=1e9, utility_drop=1e9, **settings)
        return unlearn(self.model, parts, method, task=Regression())


def test_the_published_update_is_the_one_of_its_formula():
    """With a step of training of 1e-3 between two gradients, those of a quadratic are known."""
    world = Outlier()
    found = world.without(3, subsample=0, damping=0.02).after
    w = torch.cat([world.model.weight[0], world.model.bias]).detach()
    rows = torch.cat([world.x, torch.ones(31, 1)], 1)

    def gradient(ids, at):
        return 2 * rows[ids].T @ (rows[ids] @ at - world.y[ids, 0]) / len(ids)

    def outer(ids):
        moved = -1e-3 * gradient(ids, w)
        change = gradient(ids, w + moved) - gradient(ids, w)
        return torch.outer(change, change) / moved.abs().sum()

    kept = [i for i in range(31) if i != 3]
    bent = (31 * outer(kept) - outer([3])) / 30 + 0.02 * torch.eye(5)
    wanted = w + torch.linalg.solve(bent, gradient([3], w)) / 30
    torch.testing.assert_close(
        torch.cat([found.weight[0], found.bias]).detach(), wanted, rtol=1e-6, atol=1e-9
    )


def test_a_published_step_that_turns_around_is_not_taken():
    """The sample's own curvature is taken away from that of all, and may leave it indefinite."""
    outcome = Outlier().without(6)
    assert unchanged(outcome)
    assert "retrain for sample 1 of the 1 that must go" in outcome.notes[1]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"perturbations": 2}, "perturbations is 2"),
        ({"damping": 0.0}, "may be singular"),
        ({"damping": 0.0, "selection": "full", "curvature": "none"}, "may be singular"),
        ({"damping": 0.0, "selection": "full", "epsilon": 1.0}, "may be singular"),
        ({"damping": 0.0, "selection": "full", "faithful": True}, "may be singular"),
        ({"damping": 0.0, "selection": "full", "curvature": "secant"}, "may be singular"),
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"epsilon": 1.0, "delta": 1.0}, "delta 1.0"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_moves(five, settings, why):
    with pytest.raises(BadSetting, match=why):
        forgotten(five, **settings)


def test_a_model_without_units_is_refused_unless_all_of_it_moves():
    problem = toy()
    problem.model[2].requires_grad_(requires_grad=False)
    scaled = nn.Sequential(problem.model, nn.BatchNorm1d(3))
    bare = replace(problem, model=scaled.eval())
    with pytest.raises(ModelDoesNotFit, match="no linear layer or convolution"):
        forgotten(bare)
    assert not unchanged(forgotten(bare, selection="full", at_once=0))


def test_a_loss_that_is_not_finite_is_told_with_its_sample_and_its_step():
    problem = toy()
    problem.split.forget.source.tensors[0][3] = torch.nan
    with pytest.raises(Diverged, match="first at position 3") as told:
        forgotten(problem, curvature="none", damping=9.0)
    assert "the loss is nan at step 3" in str(told.value.__cause__)


def test_a_block_that_memory_cannot_hold_is_refused_with_its_size(five, monkeypatch):
    monkeypatch.setattr(curvature, "_memory", lambda: 1000.0)
    with pytest.raises(BadSetting, match=f"a block of {3 * WIDTH} parameters"):
        forgotten(five, selection="full")


def test_a_step_too_small_for_the_weights_to_hold_forgets_nothing_and_says_so(five):
    outcome = forgotten(five, curvature="none", damping=1e30)
    assert unchanged(outcome)
    assert "retrain for samples 1, 2, 3, 4, 5 of the 5 that must go" in outcome.notes[0]


def test_a_block_of_zeros_may_move_too():
    problem = toy()
    nn.init.zeros_(problem.model[2].weight)
    nn.init.zeros_(problem.model[2].bias)
    problem.model[0].requires_grad_(requires_grad=False)
    assert not unchanged(forgotten(problem, selection="full"))


def test_where_an_interrupted_run_is_kept_is_no_setting_of_the_outcome(tmp_path):
    kept = Lcodec(checkpoint=tmp_path / "removal.safetensors").describe()
    assert kept == Lcodec().describe()
    assert "checkpoint" not in dumps(kept)
