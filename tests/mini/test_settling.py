"""The certificate is never below the distance to the retrained optimum, and noise hides no less."""

import re
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import LBFGS, SGD
from torch.utils.data import DataLoader

from expunge.algebra.gaussian import analytic_sigma
from expunge.errors import BadSetting
from expunge.recording import record
from expunge.retracing.settling import Objective


@cache
def optimum(run, gone):
    """Where the retained loss is least, by torch's own quasi-Newton method."""
    kept = sorted({*range(run.size)} - {*gone})
    model, _ = run.fresh()
    x, y = (t[kept] for t in run.data.tensors)
    finder = LBFGS(model.parameters(), 1, 200, tolerance_grad=1e-12, tolerance_change=0)

    def closure():
        finder.zero_grad()
        loss = F.cross_entropy(model(x), y) + run.decay / 2 * sum(
            p.square().sum() for p in model.parameters()
        )
        loss.backward()
        return loss

    finder.step(closure)
    return model


@pytest.mark.parametrize("settings", [{}, {"mode": "delta"}, {"subsample": 40}], ids=str)
def test_polish_ends_within_the_certificate_of_the_retrained_optimum(
    logistic, settings, gone, apart, told
):
    outcome = logistic.unlearned(gone, **settings)
    best = optimum(logistic.run, gone)
    trace = [value for _, value in outcome.traces["certificate"]]
    nothing = apart(logistic.model, best)
    assert apart(outcome.after, best) <= trace[-1] <= 0.01 * nothing
    assert nothing <= trace[0]
    assert told(outcome, f"the retrained optimum is at most {trace[-1]:.3g} away")


def test_a_replay_is_certified_where_the_loss_could_be_compared(logistic, apart):
    outcome = logistic.unlearned(mode="replay")
    best = optimum(logistic.run, logistic.run.gone)
    reached = outcome.traces["certificate"][-1][1]
    assert apart(outcome.after, best) <= reached <= 0.01 * apart(logistic.model, best)


def test_where_no_loss_was_compared_nothing_is_certain_and_nothing_promised(
    logistic, tmp_path, told
):
    outcome = logistic.unlearned(logistic.run.many, mode="replay")  # no batch stays as a whole
    assert told(outcome, "no certificate exists: the task's loss was not compared")
    with pytest.raises(BadSetting, match="promise nothing: the task's loss was not compared"):
        logistic.unlearned(logistic.run.many, mode="replay", radius=0.1, epsilon=1.0)
    bare = replace(logistic.run, epochs=2).recorded(tmp_path / "history").unlearned()
    assert told(bare, "no certificate exists: no gradient was kept")


def test_how_far_off_doing_nothing_was_lies_within_what_is_told(logistic, gone, apart):
    outcome = logistic.unlearned(gone)
    best = optimum(logistic.run, gone)
    note = next(note for note in outcome.notes if "the retrained optimum is at most" in note)
    least, most = re.search(r"it was (\S+) to (\S+) away before", note).groups()
    assert 0.999 * float(least) <= apart(logistic.model, best) <= 1.001 * float(most)
    assert float(most) - float(least) <= 0.03 * float(least)


def test_a_certificate_that_was_not_reached_is_told(logistic, told):
    outcome = logistic.unlearned(mode="linear", polish=0)
    before, reached = (value for _, value in outcome.traces["certificate"])
    assert 0.01 * before < reached < before
    assert told(outcome, "polish ended before it reached a certificate of ")


def test_noise_hides_the_declared_distance_and_never_a_measured_one(logistic, same, flat, told):
    several = [logistic.unlearned(radius=0.01, epsilon=1.0, seed=7) for _ in range(8)]
    first, again = several[:2]
    assert not same(first.after, again.after)
    sigma = analytic_sigma(0.02, epsilon=1.0, delta=1e-5)
    assert told(first, f"noise of sigma {sigma:.3g} on every number")
    assert told(first, "assumption_declared: (1.0, 1e-05)")
    spread = torch.stack([flat(each.after) for each in several]).var(0).mean().sqrt().item()
    assert spread == pytest.approx(sigma, rel=0.3)


def test_noise_without_its_certificate_is_called_no_guarantee(logistic, told):
    outcome = logistic.unlearned(radius=1e-7, epsilon=1.0, polish=0)
    assert told(outcome, "heuristic noise, no guarantee")
    assert not told(outcome, "assumption_declared")


def test_frozen_parameters_leave_nothing_to_promise(logistic, deep, tmp_path, told):
    model = deep.run.build().double()
    optimizer = SGD(model[2].parameters(), 0.3, weight_decay=logistic.run.decay)
    loader = DataLoader(logistic.run.data, batch_size=40)
    with record(model, optimizer, to=tmp_path / "h", gradients="fp32") as tape:
        for x, y in tape.watch(loader):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    left = replace(logistic, model=model, folder=tmp_path / "h")
    outcome = left.unlearned()
    assert told(outcome, "the retrained optimum is at most")  # of the head
    assert torch.equal(outcome.after[0].weight, model[0].weight)
    with pytest.raises(BadSetting, match="were not trained in the history"):
        left.unlearned(radius=0.1, epsilon=1.0)


def test_without_decay_there_is_no_certificate(logistic, tmp_path, told):
    run = replace(logistic.run, optimizer=lambda p: SGD(p, 0.3), epochs=2)
    outcome = run.recorded(tmp_path / "history", gradients="fp32").unlearned()
    assert told(outcome, "no certificate exists: not every parameter decays")
    assert "certificate" not in outcome.traces


class Dropped(nn.Linear):
    """Affine in use; in training, a few of its inputs are left out."""

    def forward(self, x):
        return super().forward(F.dropout(x, 0.02, self.training))


class Counting(nn.Linear):
    """Affine, with a buffer that holds something of everybody."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += x.sum()
        return super().forward(x)


@pytest.mark.parametrize("layer", [Dropped, Counting])
def test_where_training_was_not_as_use_nothing_is_certain(logistic, layer, tmp_path, told):
    run = replace(logistic.run, build=lambda: layer(5, 3).double(), epochs=2)
    outcome = run.recorded(tmp_path / "history").unlearned()  # no gradient tells of it
    assert told(outcome, "no certificate exists: training saw other data than these, or other")


def test_polish_of_a_run_that_was_not_at_rest_is_told(logistic, tmp_path, told):
    early = replace(logistic.run, epochs=2).recorded(tmp_path / "early", gradients="fp32")
    assert told(early.unlearned(), "the run was not at rest: polish also closes what it left open")
    assert not told(early.unlearned(polish=0), "the run was not at rest")
    slow = replace(logistic.run, epochs=300, batch=110)
    late = slow.recorded(tmp_path / "late", gradients="fp32", keep=20)
    assert not told(late.unlearned(slow.many), "the run was not at rest")


def test_a_window_that_leads_past_the_optimum_is_gone_back_from(logistic, apart, told, monkeypatch):
    monkeypatch.setattr(Objective, "tail", lambda self, **_: 50 * torch.ones_like(self.place))
    outcome = logistic.unlearned(polish=1)
    assert told(outcome, "the window led too far: polish begins where the original stood")
    best = optimum(logistic.run, logistic.run.gone)
    assert apart(outcome.after, best) < apart(logistic.model, best)
