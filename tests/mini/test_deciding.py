"""Which steps are taken, and how: by model, share and bound, and it is said why."""

from dataclasses import replace

import pytest
import torch
from torch.optim import SGD, AdamW

from expunge import Classes, Request
from expunge.errors import BadSetting, HistoryDoesNotFit
from expunge.history import History


def test_auto_mode_follows_model_and_share_and_says_why(logistic, deep, tmp_path, told):
    assert told(logistic.unlearned(), "mode linear: the model is convex")
    assert told(logistic.unlearned(logistic.run.many), "mode linear: the model is convex")
    free = replace(logistic.run, optimizer=lambda p: SGD(p, 0.3), epochs=2)
    loose = free.recorded(tmp_path / "free", gradients="fp32")
    assert told(loose.unlearned(free.many), "mode replay: 50% of the samples leave")
    assert told(deep.unlearned(), "mode replay: the history keeps no gradients")
    outcome = deep.run.recorded(tmp_path / "history", gradients="fp32").unlearned()
    assert told(outcome, "mode replay: the model is not convex in its parameters")
    assert told(outcome, "no certificate exists: the model is not convex")


def moving(parameters):
    """Steps that remember: of such an optimizer a tape sees whether it has made any."""
    return SGD(parameters, lr=0.4, momentum=0.5, weight_decay=0.05)


def test_what_a_purge_left_is_replayed(logistic, tmp_path, told):
    left = replace(logistic.run, epochs=2, optimizer=moving).recorded(
        tmp_path / "history", gradients="fp32"
    )
    late = [*left.run.order()][4][:2].tolist()
    History.open(left.folder).purge(late)
    assert told(left.unlearned(), "mode replay: the history keeps no gradients")


def test_the_window_is_as_long_as_the_bound_asks(logistic, told):
    outcome = logistic.unlearned(tolerance=0.6)
    count = next(k for k in range(1, 61) if (1 - 0.4 * logistic.run.decay) ** k <= 0.6)
    assert told(outcome, f"window: the last {count} of 60 steps (as many as the bound asks)")
    assert told(outcome, "what came before stays in the model")
    short = logistic.unlearned(tolerance=0.01)
    assert told(short, "window: the last 60 of 60 steps (the bound asks for more)")
    assert told(short, "a tail stands for what came before")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"epsilon": 1.0}, "declared beforehand, and none was"),
        ({"epsilon": 0.0, "radius": 0.1}, "epsilon is 0"),
        ({"epsilon": 1.0, "radius": 0.1, "delta": 1.0}, "delta 1.0"),
        ({"epsilon": 1.0, "radius": 0.1}, "can promise nothing: the model is not convex"),
        ({"window": 0}, "must be positive"),
        ({"tolerance": 0.0}, "tolerance is not positive"),
        ({"tail": True, "mode": "replay"}, "reads no forgotten sample"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(deep, settings, text):
    with pytest.raises(BadSetting, match=text):
        deep.unlearned(**settings)


def test_what_needs_gradients_says_so(deep, tmp_path):
    with pytest.raises(HistoryDoesNotFit, match="keeps no gradient of step"):
        deep.unlearned(mode="linear")
    run = replace(deep.run, optimizer=lambda p: AdamW(p, 0.01), epochs=1)
    left = run.recorded(tmp_path / "history", gradients="fp32")
    with pytest.raises(BadSetting, match="cannot follow AdamW"):
        left.unlearned(mode="linear")


def test_a_window_longer_than_the_history_is_refused(deep):
    held = len(History.open(deep.folder).steps)
    with pytest.raises(HistoryDoesNotFit, match=f"window=61, but history .* holds {held} steps"):
        deep.unlearned(window=61)


def test_classes_leave_as_well(deep):
    outcome = deep.unlearned(request=Request(Classes((1,))))
    x, y = deep.run.data.tensors
    before, after = (
        (m(x[y == 1]).argmax(1) == 1).double().mean() for m in (deep.model, outcome.after)
    )
    assert after < before - 0.2


def test_what_it_cost_is_told(deep, told):
    gone = torch.tensor(deep.run.gone)
    steps = History.open(deep.folder).steps
    read = sum(int((~torch.isin(torch.cat(step.ids), gone)).sum()) for step in steps)
    text = f"{read:,} gradients of samples and 0 products with their curvature"
    assert told(deep.unlearned(), text)
