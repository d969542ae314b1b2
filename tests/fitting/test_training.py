"""The default training loop: the same seed, the same weights, and all its dials."""

from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Regression
from expunge.errors import BatchUnreadable, Diverged
from expunge.fitting import Fit, bf16_pays


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(fit, bench):
    first = bench.trained(fit)
    assert bench.same(first, bench.trained(fit))
    assert not bench.same(first, bench.trained(fit, seed=1))
    assert not first.training


def rates(schedule, trained):
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
def test_schedules_go_through_their_known_points(schedule, quarters, bench):
    found = rates(schedule, bench.trained)
    assert found[::2] == pytest.approx(quarters, abs=1e-5)


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.038060), ("onecycle", 1 / 6)])
def test_schedules_end_near_nothing(schedule, last, bench):
    assert rates(schedule, bench.trained)[-1] == pytest.approx(last, abs=1e-5)


def test_the_penalty_is_paid(bench):
    fit = Fit(epochs=4, lr=0.1)
    shrunk = bench.trained(replace(fit, penalty=lambda m, _: m[0].weight.square().sum()))
    assert shrunk[0].weight.norm() < 0.6 * bench.trained(fit)[0].weight.norm()


def test_every_batch_is_augmented_and_every_sample_seen_once_an_epoch(bench):
    seen = []

    def keep(batch):
        seen.append(batch[0])
        return batch

    bench.trained(Fit(epochs=3, batch=10, augment=keep))
    assert [len(x) for x in seen] == [10, 9, 9, 9] * 3
    wanted = bench.data().tensors[0].sort(0).values
    torch.testing.assert_close(torch.cat(seen[:4]).sort(0).values, wanted)
    assert not torch.equal(torch.cat(seen[:4]), torch.cat(seen[4:8]))


def test_half_precision_learns_nearly_the_same(bench):
    full = bench.trained(replace(bench.FITS["sgd"], precision="fp32"))
    half = bench.trained(replace(bench.FITS["sgd"], precision="bf16"))
    assert not bench.same(full, half)
    assert half[0].weight.dtype == torch.float32
    for a, b in zip(full.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0.03, rtol=0.1)


def test_small_perceptrons_stay_in_full_precision(bench):
    fit = bench.FITS["sgd"]
    assert not bf16_pays(bench.network())
    assert bench.same(bench.trained(fit), bench.trained(replace(fit, precision="fp32")))


def test_a_loss_that_is_not_finite_says_how_far_the_run_was(bench):
    calls = []

    def explode(_model, _batch):
        calls.append(1)
        return torch.tensor(inf if len(calls) == 3 else 0.0)

    with pytest.raises(Diverged, match="the loss is inf after 50% of the run"):
        bench.trained(Fit(epochs=2, batch=19, penalty=explode))


def test_samples_that_the_model_cannot_take_are_told_with_the_batch(bench):
    x, y = bench.data().tensors
    with pytest.raises(BatchUnreadable, match=r"float64 \(37, 5\)") as told:
        bench.trained(Fit(epochs=1), dataset=TensorDataset(x.double(), y))
    assert "torch.float32" in told.value.hint


@pytest.mark.parametrize("n", [2, 12, 23])
def test_a_last_batch_of_one_is_never_left_to_batch_norm(n, bench):
    model = bench.network(normalised=True)
    model = bench.trained(Fit(epochs=1, batch=11), model=model, dataset=bench.data(n))
    assert all(p.isfinite().all() for p in model.parameters())


def test_frozen_parameters_stay_as_they_are(bench):
    model = bench.network()
    model[0].weight.requires_grad_(requires_grad=False)
    before = model[0].weight.clone()
    assert torch.equal(bench.trained(bench.FITS["adamw"], model=model)[0].weight, before)


def test_training_learns_what_can_be_learnt(bench):
    x = torch.randn(300, 5, generator=torch.Generator().manual_seed(3))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    model = bench.trained(Fit(epochs=30, lr=0.1, batch=32), dataset=TensorDataset(x, y))
    assert (model(x).argmax(1) == y).double().mean() > 0.95


def test_describe_tells_what_changes_the_result_and_nothing_else(bench, tmp_path):
    fit = bench.FITS["sgd"]
    silent = replace(
        fit, checkpoint=tmp_path / "a", progress=bench.stopping(1), record=tmp_path / "b"
    )
    assert silent.describe() == fit.describe()
    for change in ({"lr": 0.2}, {"batch": 12}, {"augment": bench.noisy}, {"task": Regression()}):
        assert replace(fit, **change).describe() != fit.describe()
