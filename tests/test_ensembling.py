"""Every way of training an ensemble makes the same models, by the same seeds."""

import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expunge import Fit, MultiLabel, Recipe, Regression
from expunge.ensembling import fit_many, share
from expunge.errors import BadSetting, Diverged
from expunge.problems.images import Images
from expunge.problems.networks import mlp
from expunge.seeding import seeded
from expunge.splitting import Part
from expunge.spreading import Processes

N, D, C = 47, 6, 3
BUILD = partial(mlp, inputs=D, width=8, classes=C)  # a worker can import it


def data(n=N, labels=None):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % C if labels is None else labels
    return TensorDataset(torch.randn(n, D, generator=generator), y)


def drawn(source, sizes):
    generator = torch.Generator().manual_seed(1)
    return [
        Part(source, torch.randperm(len(source), generator=generator)[:size].sort().values)
        for size in sizes
    ]


def recipe(build=BUILD, **settings):
    return Recipe(build, Fit(**{"epochs": 3, "batch": 7, **settings}))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def fitted(made, parts, way):
    """The weights of every model, in the order of the parts."""
    seeds = range(10, 10 + len(parts))
    found = {one.position: weights(one.model) for one in fit_many(made, parts, seeds, way=way)}
    return [found[k] for k in range(len(parts))]


def assert_parity(made, parts, way="vmap"):
    for one, other in zip(fitted(made, parts, way), fitted(made, parts, "loop"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def convolutions():
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, C))


def half_frozen():
    model = BUILD()
    model[0].requires_grad_(requires_grad=False)
    return model


def tied():
    model = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D), nn.Linear(D, C))
    model[2].weight = model[0].weight
    return model


def normalised():
    return nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, C))


def forgetful():
    return nn.Sequential(nn.Linear(D, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, C))


class Hidden(nn.Module):
    """A weight that also lies where torch does not look."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(D, 8), nn.Linear(8, C)
        self.kept = [self.first.weight]

    def forward(self, x):
        return self.last(nn.functional.linear(x, self.kept[0], self.first.bias).relu())


FITS = {
    "sgd": {},
    "plain": {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"},
    "adamw": {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.1},
    "one cycle": {"schedule": "onecycle"},
    "one batch": {"batch": 64},
}


@pytest.mark.parametrize("name", FITS)
def test_a_stack_makes_the_models_of_the_loop(name):
    assert_parity(recipe(**FITS[name]), drawn(data(), [23] * 5))


def test_parts_of_all_sizes_make_stacks_with_their_equals():
    assert_parity(recipe(), drawn(data(), [23, 22, 29, 21, 8, 24, 1]))


@pytest.mark.parametrize("build", [half_frozen, tied])
def test_frozen_and_shared_parameters_stay_so_in_a_stack(build):
    assert_parity(recipe(build), drawn(data(), [23] * 4))


def test_pictures_that_are_made_ready_by_the_batch_stack_too():
    generator = torch.Generator().manual_seed(2)
    pictures = torch.randint(0, 256, (N, 2, 5, 5), generator=generator, dtype=torch.uint8)
    source = Images(pictures, torch.arange(N) % C, (0.3, 0.5), (0.2, 0.4))
    assert_parity(recipe(convolutions), drawn(source, [23] * 4))


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        (MultiLabel(), torch.arange(N * C).reshape(N, C) % 2),
        (Regression(), torch.arange(N * C).reshape(N, C) / 100),
    ],
)
def test_every_task_stacks(task, labels):
    assert_parity(recipe(task=task), drawn(data(labels=labels), [23] * 4))


def test_workers_make_the_models_of_the_loop():
    assert_parity(recipe(), drawn(data(), [23, 24, 22]), Processes(1))


def test_the_ensemble_is_as_if_each_model_had_been_trained_alone():
    (part,) = drawn(data(), [23])
    with seeded(10):
        alone = recipe().train(part)
    assert torch.equal(fitted(recipe(), [part], "auto")[0], weights(alone))


def test_global_chance_and_the_fit_of_the_recipe_are_left_alone(tmp_path):
    made = recipe(checkpoint=tmp_path / "c.safetensors", record=tmp_path / "history")
    before = torch.get_rng_state()
    assert len(fitted(made, drawn(data(), [23] * 3), "auto")) == 3
    assert torch.equal(before, torch.get_rng_state())
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("build", [normalised, forgetful, Hidden])
def test_what_does_not_stack_is_trained_in_another_way_or_refused_when_told_to(build):
    parts = drawn(data(), [23] * 4)
    assert_parity(recipe(build), parts, "auto")
    with pytest.raises(BadSetting, match="cannot be trained as a stack"):
        fitted(recipe(build), parts, "vmap")


@pytest.mark.parametrize(
    ("seconds", "tried"),
    [
        ({1: 2, 4: 3, 16: 1, 64: 1, 256: 0}, {1, 4, 16, 64}),
        ({1: 5, 4: 4, 16: 3, 64: 2, 256: 1}, {1, 4, 16, 64, 256}),
    ],
)
def test_larger_stacks_are_tried_for_as_long_as_they_are_faster(seconds, tried, monkeypatch):
    sizes = []

    def clocked(_, job):
        sizes.append(len(job))
        return len(job) * seconds[len(job)], torch.ones(1)

    monkeypatch.setattr("expunge.ensembling._clocked", clocked)
    best = min(seconds[size] for size in tried)
    assert share(recipe(), drawn(data(), [23] * 300)) == best / seconds[1]
    assert {*sizes} == tried


def test_augmented_data_and_fits_of_ones_own_do_not_stack():
    def own(model, dataset):
        with torch.no_grad():
            model[0].bias.fill_(len(dataset) + torch.rand(1).item())
        return model

    parts = drawn(data(), [23, 24])
    for made in (Recipe(BUILD, own), recipe(augment=lambda batch: batch)):
        assert_parity(made, parts, "auto")
        with pytest.raises(BadSetting, match="cannot be trained as a stack"):
            fitted(made, parts, "vmap")


@pytest.mark.parametrize("way", ["loop", "vmap", pytest.param("workers", marks=pytest.mark.slow)])
def test_a_model_that_diverges_ends_the_ensemble_as_it_ends_itself(way):
    with pytest.raises(Diverged, match="the loss"):
        fitted(recipe(lr=1e30), drawn(data(), [23] * 4), way)


def test_what_no_worker_could_import_is_refused_or_trained_here():
    parts = drawn(data(), [23] * 2)
    made = recipe(lambda: mlp(inputs=D, width=8, classes=C))
    assert len(fitted(made, parts, "auto")) == 2
    with pytest.raises(BadSetting, match="cannot import"):
        fitted(made, parts, "workers")


def test_parts_of_several_datasets_or_too_few_seeds_are_refused():
    one, other = drawn(data(), [23])[0], drawn(data(), [23])[0]
    with pytest.raises(BadSetting, match="parts of one dataset"):
        fit_many(recipe(), [one, other], [1, 2])
    with pytest.raises(BadSetting, match="a seed for each"):
        fit_many(recipe(), [one], [1, 2])
    assert list(fit_many(recipe(), [], [])) == []


@dataclass
class Noting:
    """Does the work here, and counts the jobs."""

    jobs: int = 0

    def map(self, function, jobs):
        for job in jobs:
            self.jobs += 1
            yield function(job)


def test_an_executor_of_ones_own_gets_the_jobs_and_progress_is_told():
    there, heard = Noting(), []
    parts = drawn(data(), [23] * 3 + [40])
    fits = fit_many(recipe(), parts, range(4), way=there, progress=lambda *told: heard.append(told))
    assert sorted(one.position for one in fits) == [0, 1, 2, 3]
    assert there.jobs >= 2
    assert heard[0] == ("train", 0, 4)
    assert heard[-1] == ("train", 4, 4)


SCRIPT = """
from functools import partial
import torch
from torch.utils.data import TensorDataset
from expunge import Fit, Recipe
from expunge.ensembling import fit_many
from expunge.problems.networks import mlp
from expunge.splitting import Part
from expunge.spreading import Processes
print("started", flush=True)
data = TensorDataset(torch.randn(20, 6), torch.arange(20) % 3)
recipe = Recipe(partial(mlp, inputs=6, width=8, classes=3), Fit(epochs=1))
print(len([*fit_many(recipe, [Part.whole(data)] * 2, [1, 2], way=Processes(1))]))
"""


def test_workers_do_not_run_a_script_again_that_has_no_guard(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["started", "2"]


def test_another_fit_of_the_same_recipe_is_another_ensemble():
    parts = drawn(data(), [23] * 2)
    longer = replace(recipe(), fit=replace(recipe().fit, epochs=4))
    assert not torch.equal(fitted(recipe(), parts, "loop")[0], fitted(longer, parts, "loop")[0])
