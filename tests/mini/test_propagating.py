"""What is carried through recorded steps is what a replay finds, if curvature is known."""

from dataclasses import replace

import pytest
from torch.nn import functional as F
from torch.optim import SGD


def middle(run, gone, first):
    """The oracle from the model that the path goes through: it had seen everybody until then."""
    model, optimizer = run.fresh()
    for ids in [*run.order()][:first]:
        optimizer.zero_grad()
        x, y = (t[ids] for t in run.data.tensors)
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return run.again(gone, start=(model, optimizer), first=first)


@pytest.mark.parametrize("window", [4, 60])
def test_on_ridge_what_is_carried_is_what_a_replay_finds(ridge, window, gone, apart):
    """A replay from the model that the path goes through; gradients were rounded to fp32."""
    outcome = ridge.unlearned(gone, mode="linear", window=window, tail=False, polish=0)
    wanted = middle(ridge.run, gone, 60 - window)
    assert apart(outcome.after, wanted) < 1e-6
    assert apart(ridge.model, wanted) > 1e-3


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"mode": "linear"}, 2e-3),
        ({"mode": "linear", "curvature": "ggn"}, 2e-3),
        ({"mode": "linear", "curvature": "hessian"}, 0.1),
        ({"mode": "linear", "curvature": "lbfgs"}, 0.7),
        ({"mode": "delta"}, 0.7),
    ],
    ids=str,
)
def test_every_curvature_comes_as_near_to_retraining_as_it_can(logistic, settings, most, apart):
    wanted = logistic.run.again()
    after = logistic.unlearned(polish=0, tail=False, **settings).after
    assert apart(after, wanted) < most * apart(logistic.model, wanted)


def test_gradients_that_are_only_added_back_are_a_warning(logistic, apart, told):
    wanted = logistic.run.again()
    outcome = logistic.unlearned(mode="none")
    assert apart(outcome.after, wanted) > 2 * apart(logistic.model, wanted)
    assert told(outcome, "worse than doing nothing")


def test_a_tail_stands_for_what_lies_before_the_window(ridge, tmp_path, apart):
    run = replace(
        ridge.run, batch=ridge.run.size, epochs=50,
        optimizer=lambda p: SGD(p, 0.2, weight_decay=ridge.run.decay),
    )  # fmt: skip
    left = run.recorded(tmp_path / "history", keep=3, gradients="fp32")
    wanted = run.again()
    with_tail, without = (
        apart(left.unlearned(mode="linear", window=3, polish=0, tail=tail).after, wanted)
        for tail in (True, False)
    )
    assert with_tail < 1e-5 < 0.01 * without


def test_workers_find_what_one_process_finds(logistic, gone, apart):
    alone, together = (
        logistic.unlearned(gone, mode="linear", polish=0, workers=count) for count in (1, 3)
    )
    assert apart(alone.after, together.after) < 1e-12
    assert alone.notes == together.notes


def test_gradients_in_bf16_lead_almost_to_the_same_place(logistic, tmp_path, apart):
    rounded = logistic.run.recorded(tmp_path / "history", gradients="bf16")
    fine, coarse = (
        left.unlearned(mode="linear", polish=0, tail=False).after for left in (logistic, rounded)
    )
    assert 0 < apart(fine, coarse) < 0.02 * apart(fine, logistic.model)


def test_steps_that_do_not_contract_are_said_aloud(ridge, tmp_path, told):
    run = replace(
        ridge.run, optimizer=lambda p: SGD(p, 1.6, weight_decay=ridge.run.decay), epochs=2
    )
    left = run.recorded(tmp_path / "history", gradients="fp32")
    outcome = left.unlearned(mode="linear", tail=False, polish=0)
    assert told(outcome, "the steps did not contract")
    assert max(value for _, value in outcome.traces["contraction"]) > 1


def test_traces_tell_of_every_step(logistic):
    traces = logistic.unlearned(mode="linear", tail=False, polish=0).traces
    assert [step for step, _ in traces["displacement"]] == list(range(60))
    assert all(0 < factor < 1 for _, factor in traces["contraction"])


def test_of_one_step_without_a_tail_nothing_is_said_about_contraction(logistic, told):
    outcome = logistic.unlearned(mode="linear", window=1, tail=False, polish=0)
    assert told(outcome, "there was no difference to contract")
    assert "contraction" not in outcome.traces
