"""The guarantee of L-CODEC: claimed where all of its conditions hold, and gone with any of them."""

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Regression, Request, Samples, split
from expunge.algebra.gaussian import analytic_sigma
from expunge.algebra.noise import newton_shift
from expunge.batching import Batches
from expunge.methods.lcodec import Lcodec
from expunge.splitting import Part
from expunge.stepping import Ground, off_optimum
from expunge.unlearning import unlearn

N, D, L2 = 600, 5, 0.5
GONE = (3, 14, 159, 265, 358)
CLAIM = {
    "selection": "full", "curvature": "hessian", "subsample": 0, "l2": L2, "lipschitz": 2.0,
    "bend": 0.5, "noise": "all", "epsilon": 0.5, "delta": 0.05, "at_once": 2,
    "perturbations": 32, "utility_drop": 99.0,
}  # fmt: skip


class Ridge:
    """A line at the optimum of its objective: mean loss + l2/2 · |w|²."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(N, D, generator=generator).double()
        y = x.sum(1) + torch.randn(N, generator=generator).double()
        rows = torch.cat([x, torch.ones(N, 1)], 1)
        bent = 2 * rows.T @ rows / N + L2 * torch.eye(D + 1)
        self.optimum = torch.linalg.solve(bent, 2 * rows.T @ y / N)
        self.data = TensorDataset(x, y[:, None])

    def model(self, off=0.0):
        line = nn.Linear(D, 1).double()
        with torch.no_grad():
            line.weight.copy_(self.optimum[None, :-1] + off)
            line.bias.copy_(self.optimum[-1:])
        return line

    def without(self, model, **settings):
        parts = split(self.data, Request(Samples(GONE)), test=self.data, validation=self.data)
        return unlearn(model, parts, Lcodec(**(CLAIM | settings)), task=Regression())


@pytest.fixture(scope="module")
def ridge():
    return Ridge()


def of_noise(outcome):
    """The note that says what the noise is worth."""
    (found,) = [n for n in outcome.notes if n.startswith(("assumption_declared", "heuristic"))]
    return found


def claims(outcome):
    return of_noise(outcome).startswith("assumption_declared")


def test_where_all_conditions_hold_the_guarantee_is_claimed_for_the_whole_stream(ridge):
    outcome = ridge.without(ridge.model())
    shift = newton_shift(n=N, m=5, l2=L2, lipschitz=2.0, hessian_lipschitz=0.5)
    sigma = analytic_sigma(1.02 * shift, epsilon=0.5, delta=0.05)
    note = of_noise(outcome)
    assert note.startswith("assumption_declared: (0.5, 0.05) for 5 of 600 samples")
    assert f"sigma {sigma:.3g} on every number" in note
    quiet = ridge.without(ridge.model(), epsilon=None)
    drawn = torch.cat([outcome.after.weight - quiet.after.weight, outcome.after.bias[None]], 1)
    assert (drawn != 0).all()
    assert (drawn[0, :D].abs() < 5 * sigma).all()
    assert not any("noise" in note or "assumption" in note for note in quiet.notes)


MISSING = [
    ({"selection": "foci"}, "selection must be full"),
    ({"curvature": "ggn"}, "curvature must be the hessian of all retained samples"),
    ({"subsample": 500}, "curvature must be the hessian of all retained samples"),
    ({"faithful": True}, "curvature must be the hessian of all retained samples"),
    ({"l2": None}, "the l2 of the objective must be known"),
    ({"damping": 0.1}, "with no other damping"),
    ({"lipschitz": None}, "lipschitz and bend must be declared"),
    ({"bend": None}, "lipschitz and bend must be declared"),
    ({"noise": "block"}, "noise must be on all numbers"),
    ({"noise": "complement"}, "noise must be on all numbers"),
    ({"trust": 1e-7}, "a step was cut short"),
]


@pytest.mark.parametrize(("settings", "why"), MISSING, ids=str)
def test_with_any_condition_missing_the_noise_is_called_a_heuristic(ridge, settings, why):
    outcome = ridge.without(ridge.model(), **settings)
    assert not claims(outcome)
    assert of_noise(outcome).startswith("heuristic noise, no guarantee (sigma")
    assert why in of_noise(outcome)
    assert ";" not in of_noise(outcome)


def test_an_original_off_its_optimum_is_not_what_the_guarantee_is_about(ridge):
    outcome = ridge.without(ridge.model(off=0.01))
    assert not claims(outcome)
    assert of_noise(outcome).endswith("the original is not at the optimum of its objective")


def test_a_wrong_penalty_shows_as_an_original_off_its_optimum(ridge):
    assert not claims(ridge.without(ridge.model(), l2=L2 / 2))


def test_a_frozen_layer_that_knows_everybody_spoils_the_guarantee(ridge):
    model = nn.Sequential(ridge.model(), nn.Linear(1, 1).double())
    model[1].requires_grad_(requires_grad=False)
    nn.init.ones_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    outcome = ridge.without(model)
    assert not claims(outcome)
    assert of_noise(outcome).endswith("no parameter may be frozen")


def test_statistics_that_know_everybody_spoil_the_guarantee(ridge):
    scaled = nn.Sequential(nn.BatchNorm1d(D, affine=False), ridge.model()).double()
    outcome = ridge.without(scaled.eval())
    assert of_noise(outcome).endswith("no buffer may hold what was learnt from the data")


def test_an_objective_that_bends_downwards_has_no_guarantee():
    """At a saddle of a network, the penalised Hessian has a negative eigenvalue."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator).double()
    data = TensorDataset(x, x.sum(1, keepdim=True).tanh() * 9)
    network = nn.Sequential(nn.Linear(D, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    for p in network.parameters():
        nn.init.zeros_(p)
    parts = split(data, Request(Samples(GONE)), test=data, validation=data)
    outcome = unlearn(network, parts, Lcodec(**CLAIM), task=Regression())
    assert not claims(outcome)
    assert "a step is not the Newton step of a convex objective" in of_noise(outcome)
    assert any("bends downwards" in note for note in outcome.notes)


def test_nearness_to_the_optimum_is_judged_by_what_is_hidden_in_the_end(ridge, monkeypatch):
    """For all five the noise hides 25 times what it hides for one."""
    hidden = newton_shift(n=N, m=5, l2=L2, lipschitz=2.0, hessian_lipschitz=0.5)
    monkeypatch.setattr("expunge.methods.lcodec.off_optimum", lambda *_: 0.005 * hidden)
    assert claims(ridge.without(ridge.model()))
    said = iter([False, False, True])
    monkeypatch.setattr("expunge.streaming.Stream._harmless", lambda _: next(said))
    outcome = ridge.without(ridge.model())
    assert of_noise(outcome).endswith("the original is not at the optimum of its objective")


@pytest.mark.parametrize("off", [0.0, 0.01, 1.0])
def test_no_model_lies_further_from_its_optimum_than_is_said(ridge, off):
    model, everybody = ridge.model(off), Part.whole(ridge.data)
    chunks = everybody.indices.split(70)
    ground = Ground(Batches(everybody, 70), chunks, Regression(), "hessian", 0.0)
    away = torch.cat([model.weight[0], model.bias]).detach() - ridge.optimum
    said = off_optimum(model, (ground,), L2)
    assert away.norm() <= said + 1e-9
    assert said <= 10 * away.norm() + 1e-9


def test_what_the_noise_of_a_guarantee_costs_is_told(ridge):
    outcome = ridge.without(ridge.model(), lipschitz=500.0)
    assert outcome.notes[-1].startswith("the noise took validation loss from ")
    (_, before), (_, after) = outcome.traces["validation loss"][-2:]
    assert after > 10 * before


def test_constants_that_are_declared_to_be_nothing_are_taken_at_their_word(ridge):
    outcome = ridge.without(ridge.model(), bend=0.0, lipschitz=3.0)
    assert "sigma 0 " in of_noise(outcome)


def test_the_guarantee_counts_those_alone_who_left(ridge, monkeypatch):
    said = iter([True, False, True])
    monkeypatch.setattr("expunge.streaming.Stream._harmless", lambda _: next(said))
    outcome = ridge.without(ridge.model())
    assert "retrain for samples 3, 4 of the 5 that must go" in outcome.notes[0]
    assert "for 3 of 600 samples" in of_noise(outcome)


def test_heuristic_noise_is_drawn_in_every_step_and_a_guarantee_s_at_the_end_alone(ridge):
    """A trace tells: after the last step, a guarantee has not yet drawn anything."""
    model = ridge.model()
    for settings, same in (({}, True), ({"noise": "block"}, False)):
        noisy = ridge.without(model, **settings).traces["after loss"]
        quiet = ridge.without(model, epsilon=None, **settings).traces["after loss"]
        assert (noisy == quiet) is same
