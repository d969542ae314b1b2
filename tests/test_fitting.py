"""The default training loop: the same seed, an interruption, and its dials."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Regression
from expunge.errors import Diverged
from expunge.fitting import Fit, bf16_pays
from expunge.history import History
from expunge.recording import Recording
from expunge.splitting import Part
from expunge.unlearning import seeded


def data(n=37, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 5, generator=generator), torch.arange(n) % 3)


def network(width=7, seed=1, *, normalised=False):
    with seeded(seed):
        middle = [nn.BatchNorm1d(width)] if normalised else []
        return nn.Sequential(nn.Linear(5, width), *middle, nn.ReLU(), nn.Linear(width, 3))


def trained(fit, *, seed=0, model=None, dataset=None):
    with seeded(seed):
        return fit(network() if model is None else model, data() if dataset is None else dataset)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def noisy(batch):
    x, y = batch
    return x + 0.3 * torch.randn_like(x), y


FITS = {
    "sgd": Fit(epochs=5, lr=0.1, batch=11),
    "adamw": Fit(epochs=5, lr=0.01, batch=11, optimizer="adamw", schedule="onecycle"),
    "augmented": Fit(epochs=5, lr=0.1, batch=11, augment=noisy),
}


@pytest.mark.parametrize("name", FITS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name):
    first = trained(FITS[name])
    assert same(first, trained(FITS[name]))
    assert not same(first, trained(FITS[name], seed=1))
    assert not first.training


class Stopped(Exception):
    """The power went out."""


def stopping(after):
    def hear(_step, done, _total):
        if done == after:
            raise Stopped

    return hear


def interrupted(fit, path, *, after=2, **given):
    with pytest.raises(Stopped):
        trained(replace(fit, checkpoint=path, progress=stopping(after)), **given)
    assert path.exists()


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("normalised", [False, True])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(name, normalised, tmp_path):
    fit, path = FITS[name], tmp_path / "run.safetensors"
    interrupted(fit, path, model=network(normalised=normalised))
    heard = []
    resumed = replace(fit, checkpoint=path, progress=lambda *told: heard.append(told))
    found = trained(resumed, model=network(normalised=normalised))
    assert heard == [("train", done, 5) for done in (3, 4, 5)]
    assert same(found, trained(fit, model=network(normalised=normalised)))
    assert not path.exists()


def test_a_resumed_run_keeps_the_memory_order_of_its_model(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(48, 3, 6, 6, generator=generator)
    dataset = TensorDataset(images, torch.randint(0, 4, (48,), generator=generator))

    def build():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4))
        return model.to(memory_format=torch.channels_last)

    def stop(_step, done, _total):
        if done == 2:
            raise KeyboardInterrupt

    fit = Fit(epochs=4, lr=0.1, batch=16)
    with torch.random.fork_rng():
        whole = fit(build(), dataset).state_dict()
        path = tmp_path / "run.safetensors"
        with pytest.raises(KeyboardInterrupt):
            replace(fit, checkpoint=path, progress=stop)(build(), dataset)
        resumed = replace(fit, checkpoint=path)(build(), dataset).state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_may_be_interrupted_more_than_once(tmp_path):
    path = tmp_path / "run.safetensors"
    interrupted(FITS["adamw"], path, after=1)
    interrupted(FITS["adamw"], path, after=3)
    assert same(trained(replace(FITS["adamw"], checkpoint=path)), trained(FITS["adamw"]))


@pytest.mark.parametrize(
    "other",
    [
        {"fit": replace(FITS["sgd"], lr=0.2)},
        {"fit": replace(FITS["sgd"], epochs=6)},
        {"dataset": Part(data(), torch.arange(30))},
        {"model": network(width=9)},
        {"model": network(seed=8)},
        {"seed": 5},
    ],
    ids=lambda other: next(iter(other)),
)
def test_the_checkpoint_of_another_run_is_ignored(other, tmp_path):
    path = tmp_path / "run.safetensors"
    with_model = {name: value for name, value in other.items() if name != "model"}
    fit = with_model.pop("fit", FITS["sgd"])
    fresh = {n: v.state_dict() for n, v in other.items() if n == "model"}
    interrupted(FITS["sgd"], path)

    def run(chosen):
        model = None
        if fresh:
            model = network(width=len(fresh["model"]["0.bias"]))
            model.load_state_dict(fresh["model"])
        return trained(chosen, model=model, **with_model)

    assert same(run(replace(fit, checkpoint=path)), run(fit))


@pytest.mark.parametrize("text", [b"", b"half", b"{}" * 50])
def test_a_corrupt_checkpoint_is_ignored(text, tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(text)
    assert same(trained(replace(FITS["sgd"], checkpoint=path)), trained(FITS["sgd"]))
    assert not path.exists()


def rates(schedule):
    """The learning rate of every step, told by how far one unit of slope moves a weight."""
    seen = []

    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1, 1))

        def forward(self, x):
            seen.append(self.w.item())
            return x @ self.w * 0

    fit = Fit(
        epochs=8, lr=1.0, batch=4, schedule=schedule, momentum=0.0, weight_decay=0.0,
        penalty=lambda model, _: model.w.sum(), task=Regression(),
    )  # fmt: skip
    model = trained(fit, model=Still(), dataset=TensorDataset(torch.ones(4, 1), torch.ones(4)))
    seen.append(model.w.item())
    return [a - b for a, b in pairwise(seen)]


@pytest.mark.parametrize(
    ("schedule", "quarters"),
    [
        ("cosine", [1, 0.853553, 0.5, 0.146447]),
        ("onecycle", [0, 1, 2 / 3, 1 / 3]),
        ("constant", [1, 1, 1, 1]),
    ],
)
def test_schedules_go_through_their_known_points(schedule, quarters):
    found = rates(schedule)
    assert found[::2] == pytest.approx(quarters, abs=1e-5)


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.038060), ("onecycle", 1 / 6)])
def test_schedules_end_near_nothing(schedule, last):
    assert rates(schedule)[-1] == pytest.approx(last, abs=1e-5)


def test_the_penalty_is_paid():
    shrunk = trained(Fit(epochs=4, lr=0.1, penalty=lambda m, _: m[0].weight.square().sum()))
    assert shrunk[0].weight.norm() < 0.6 * trained(Fit(epochs=4, lr=0.1))[0].weight.norm()


def test_every_batch_is_augmented_and_every_sample_seen_once_an_epoch():
    seen = []

    def keep(batch):
        seen.append(batch[0])
        return batch

    trained(Fit(epochs=3, batch=10, augment=keep))
    assert [len(x) for x in seen] == [10, 9, 9, 9] * 3
    wanted = data().tensors[0].sort(0).values
    torch.testing.assert_close(torch.cat(seen[:4]).sort(0).values, wanted)
    assert not torch.equal(torch.cat(seen[:4]), torch.cat(seen[4:8]))


def test_half_precision_learns_nearly_the_same():
    full = trained(replace(FITS["sgd"], precision="fp32"))
    half = trained(replace(FITS["sgd"], precision="bf16"))
    assert not same(full, half)
    assert half[0].weight.dtype == torch.float32
    for a, b in zip(full.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0.03, rtol=0.1)


def test_small_perceptrons_stay_in_full_precision():
    assert not bf16_pays(network())
    assert same(trained(FITS["sgd"]), trained(replace(FITS["sgd"], precision="fp32")))


def test_a_loss_that_is_not_finite_says_how_far_the_run_was():
    calls = []

    def explode(_model, _batch):
        calls.append(1)
        return torch.tensor(inf if len(calls) == 3 else 0.0)

    with pytest.raises(Diverged, match="the loss is inf after 50% of the run"):
        trained(Fit(epochs=2, batch=19, penalty=explode))


@pytest.mark.parametrize("n", [2, 12, 23])
def test_a_last_batch_of_one_is_never_left_to_batch_norm(n):
    model = trained(Fit(epochs=1, batch=11), model=network(normalised=True), dataset=data(n))
    assert all(p.isfinite().all() for p in model.parameters())


def test_frozen_parameters_stay_as_they_are():
    model = network()
    model[0].weight.requires_grad_(requires_grad=False)
    before = model[0].weight.clone()
    assert torch.equal(trained(FITS["adamw"], model=model)[0].weight, before)


def test_training_learns_what_can_be_learnt():
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    model = trained(Fit(epochs=30, lr=0.1, batch=32), dataset=TensorDataset(x, y))
    assert (model(x).argmax(1) == y).double().mean() > 0.95


def test_describe_tells_what_changes_the_result_and_nothing_else(tmp_path):
    fit = FITS["sgd"]
    silent = replace(fit, checkpoint=tmp_path / "a", progress=stopping(1), record=tmp_path / "b")
    assert silent.describe() == fit.describe()
    for change in ({"lr": 0.2}, {"batch": 12}, {"augment": noisy}, {"task": Regression()}):
        assert replace(fit, **change).describe() != fit.describe()


def history_of(fit, path, **given):
    """What a run left behind that keeps its last twelve steps of twenty."""
    model = trained(replace(fit, record=Recording(path, keep=12)), **given)
    return model, History.open(path)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("normalised", [False, True])
def test_a_run_that_is_recorded_ends_where_it_would_have_ended(name, normalised, tmp_path):
    found, history = history_of(FITS[name], tmp_path / "h", model=network(normalised=normalised))
    assert same(found, trained(FITS[name], model=network(normalised=normalised)))
    assert [step.number for step in history.steps] == [*range(20)]
    assert history.starts == (0, 12)


def test_a_path_alone_records_enough(tmp_path):
    trained(replace(FITS["sgd"], record=tmp_path / "history"))
    assert len(History.open(tmp_path / "history").steps) == 20


def test_an_augmented_run_can_be_made_again_from_its_history(tmp_path):
    found, history = history_of(FITS["augmented"], tmp_path / "history")
    model, start = network(), history.start(12)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True)
    model.load_state_dict(start.model)
    optimizer.load_state_dict(start.optimizer)
    with torch.random.fork_rng():
        for step in history.steps[12:]:
            torch.set_rng_state(step.rng)
            x, y = noisy(data()[step.ids[0]])
            optimizer.param_groups[0].update(lr=step.settings[0]["lr"])
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert same(model, found)


@pytest.mark.parametrize("keep", [5, 12])
def test_a_resumed_run_goes_on_with_its_history(keep, tmp_path):
    fit = replace(FITS["augmented"], checkpoint=tmp_path / "run.safetensors")
    recorded = replace(fit, record=Recording(tmp_path / "history", keep=keep))
    with pytest.raises(Stopped):
        trained(replace(recorded, progress=stopping(3)))
    before = History.open(tmp_path / "history").steps
    found = trained(recorded)
    whole = trained(replace(recorded, checkpoint=None, record=tmp_path / "whole"))
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
    assert same(found, whole)


def test_steps_after_the_checkpoint_are_made_again_and_told_once(tmp_path, monkeypatch):
    fit = replace(FITS["sgd"], checkpoint=tmp_path / "run.safetensors", record=tmp_path / "history")
    descend, made = Fit._descend, []

    def failing(*given, **more):
        made.append(1)
        if len(made) == 15:
            raise Stopped
        descend(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_descend", failing)
        with pytest.raises(Stopped):
            trained(fit)
    before = [step.ids[0].tolist() for step in History.open(tmp_path / "history").steps]
    assert len(before) == 14
    trained(fit)
    history = History.open(tmp_path / "history")
    assert history.starts == (0, 12)
    assert [step.number for step in history.steps] == [*range(20)]
    assert [step.ids[0].tolist() for step in history.steps][:14] == before


def test_a_resumed_run_whose_history_is_lost_begins_one_where_it_goes_on(tmp_path):
    fit = replace(FITS["sgd"], checkpoint=tmp_path / "run.safetensors")
    with pytest.raises(Stopped):
        trained(replace(fit, progress=stopping(3)))
    trained(replace(fit, record=tmp_path / "history"))
    history = History.open(tmp_path / "history")
    assert history.starts == (12,)
    assert [step.number for step in history.steps] == [*range(12, 20)]
    assert history.purge([0]).whole


def test_the_history_of_another_run_is_replaced(tmp_path):
    fit = replace(FITS["sgd"], checkpoint=tmp_path / "run.safetensors", record=tmp_path / "history")
    trained(replace(fit, epochs=7))
    with pytest.raises(Stopped):
        trained(replace(fit, progress=stopping(3), record=None))
    trained(fit)
    assert History.open(tmp_path / "history").starts == (12,)
