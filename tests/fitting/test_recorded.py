"""A run that is recorded is the same run, and its history goes on when it is resumed."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import SGD

from expunge.fitting import Fit
from expunge.history import History
from expunge.recording import Recording


def history_of(fit, path, trained, **given):
    """What a run left behind that keeps its last twelve steps of twenty."""
    model = trained(replace(fit, record=Recording(path, keep=12)), **given)
    return model, History.open(path)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_run_that_is_recorded_ends_where_it_would_have_ended(fit, normalised, tmp_path, bench):
    model, other = (bench.network(normalised=normalised) for _ in range(2))
    found, history = history_of(fit, tmp_path / "h", bench.trained, model=model)
    assert bench.same(found, bench.trained(fit, model=other))
    assert [step.number for step in history.steps] == [*range(20)]
    assert history.starts == (0, 12)


def test_a_path_alone_records_enough(tmp_path, bench):
    bench.trained(replace(bench.FITS["sgd"], record=tmp_path / "history"))
    assert len(History.open(tmp_path / "history").steps) == 20


def test_a_history_tells_what_the_run_did_besides(tmp_path, bench):
    fit = replace(bench.FITS["augmented"], penalty=lambda model, _: model[0].weight.square().sum())
    _, history = history_of(fit, tmp_path / "h", bench.trained)
    assert history.beside == ("augment", "penalty")
    _, history = history_of(bench.FITS["sgd"], tmp_path / "g", bench.trained)
    assert history.beside == ()


def test_an_augmented_run_can_be_made_again_from_its_history(tmp_path, bench):
    fit, folder = bench.FITS["augmented"], tmp_path / "history"
    found, history = history_of(fit, folder, bench.trained)
    model, start = bench.network(), history.start(12)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    model.load_state_dict(start.model)
    optimizer.load_state_dict(start.optimizer)
    with torch.random.fork_rng():
        for step in history.steps[12:]:
            torch.set_rng_state(step.rng)
            x, y = bench.noisy(bench.data()[step.ids[0]])
            optimizer.param_groups[0].update(lr=step.settings[0]["lr"])
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert bench.same(model, found)


@pytest.mark.parametrize(("keep", "every"), [(5, None), (12, None), (12, 5)])
def test_a_resumed_run_goes_on_with_its_history(keep, every, tmp_path, bench):
    fit = replace(bench.FITS["augmented"], checkpoint=tmp_path / "run.safetensors")
    recorded = replace(fit, record=Recording(tmp_path / "history", keep=keep, every=every))
    bench.interrupted(recorded, after=3)
    before = History.open(tmp_path / "history").steps
    found = bench.trained(recorded)
    whole = bench.trained(replace(recorded, checkpoint=None, record=tmp_path / "whole"))
    history, other = History.open(tmp_path / "history"), History.open(tmp_path / "whole")
    assert before[-1].number == 11
    assert 12 in history.starts
    assert min(keep, 20) <= len(history.steps)
    assert [step.number for step in history.steps] == [*range(history.starts[0], 20)]
    for a, b in zip(history.steps, other.steps[history.starts[0] :], strict=True):
        assert torch.equal(a.ids[0], b.ids[0])
        assert torch.equal(a.rng, b.rng)
        assert a.settings == b.settings
    assert history.ended == other.ended
    assert bench.same(found, whole)


def test_steps_after_the_checkpoint_are_made_again_and_told_once(tmp_path, monkeypatch, bench):
    fit, folder = bench.FITS["sgd"], tmp_path / "history"
    fit = replace(fit, checkpoint=tmp_path / "run.safetensors", record=folder)
    descend, made = Fit._descend, []

    def failing(*given, **more):
        made.append(1)
        if len(made) == 15:
            raise bench.Stopped
        descend(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_descend", failing)
        with pytest.raises(bench.Stopped):
            bench.trained(fit)
    before = [step.ids[0].tolist() for step in History.open(folder).steps]
    assert len(before) == 14
    bench.trained(fit)
    history = History.open(folder)
    assert history.starts == (0, 12)
    assert [step.number for step in history.steps] == [*range(20)]
    assert [step.ids[0].tolist() for step in history.steps][:14] == before


def test_a_resumed_run_whose_history_is_lost_begins_one_where_it_goes_on(tmp_path, bench):
    fit = replace(bench.FITS["sgd"], checkpoint=tmp_path / "run.safetensors")
    bench.interrupted(fit, after=3)
    bench.trained(replace(fit, record=tmp_path / "history"))
    history = History.open(tmp_path / "history")
    assert history.starts == (12,)
    assert [step.number for step in history.steps] == [*range(12, 20)]
    assert history.purge([0]).whole


def test_the_history_of_another_run_is_replaced(tmp_path, bench):
    fit = replace(bench.FITS["sgd"], checkpoint=tmp_path / "run.safetensors")
    recorded = replace(fit, record=tmp_path / "history")
    bench.trained(replace(recorded, epochs=7))
    bench.interrupted(fit, after=3)
    bench.trained(recorded)
    assert History.open(tmp_path / "history").starts == (12,)


def test_a_purge_takes_the_generator_by_which_the_order_could_be_drawn_again(tmp_path, bench):
    _, history = history_of(bench.FITS["augmented"], tmp_path / "history", bench.trained)
    assert all(step.rng is not None for step in history.steps)
    history.purge(history.steps[-1].ids[0][:1].tolist())
    assert all(step.rng is None for step in History.open(tmp_path / "history").steps)
