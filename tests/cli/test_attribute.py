"""An attribute, from the command line: the layer that erases it is saved, loaded and judged."""

import shutil
import sys

import pytest
import torch
from torch.nn import functional as F

from expunge.__main__ import main
from expunge.cli.project import opened
from expunge.erasing.inserting import ErasedInput
from expunge.problems.coloured_digits import coloured_digits
from expunge.storing import load_tensors, save_tensors
from expunge.unlearning import seeded

PROJECT = """
from expunge.problems.coloured_digits import coloured_digits

problem = coloured_digits(width=4)
build, train, test, task = problem.recipe.build, problem.train, problem.test, problem.task
"""
TOML = """
name = "coloured"
model = "coloured:build"
weights = "model.safetensors"
train = "coloured:train"
test = "coloured:test"
task = "coloured:task"

[audit]
tier = "smoke"
metrics = ["accuracy", "loss"]
"""
ERASED = "runs/r1/model.safetensors"


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """A project about coloured digits, after one request; nobody needs to train for that."""
    folder = tmp_path_factory.mktemp("coloured")
    with seeded(0):
        weights = coloured_digits(width=4).recipe.build().state_dict()
    save_tensors(folder / "model.safetensors", weights)
    (folder / "coloured.py").write_text(PROJECT)
    (folder / "expunge.toml").write_text(TOML)
    request = ("--method", "leace", "--attribute", "colour", "--id", "r1")
    with pytest.raises(SystemExit) as end:
        main(["run", *request, "--config", str(folder / "expunge.toml")])
    assert end.value.code in (None, 0, 1)
    del sys.modules["coloured"]
    return folder


@pytest.fixture(autouse=True)
def _copied(coloured, project):
    shutil.copytree(coloured, project, dirs_exist_ok=True)


def told(project, weights):
    """How far the features of one digit tell the colour, by the model that is loaded."""
    with opened(project / "expunge.toml") as found, torch.no_grad():
        model, batch = found.model(project / weights), found.train[:]
        x = found.task.answer(model, batch).embedding[batch[1] == 3].double()
        z = F.one_hot(batch[2][batch[1] == 3]).double()
    return model, ((x - x.mean(0)).T @ (z - z.mean(0)) / len(x)).abs().max().item()


def test_the_model_that_a_run_leaves_is_loaded_with_its_erasure(project):
    _, before = told(project, "model.safetensors")
    model, after = told(project, ERASED)
    assert [m for m in model.modules() if isinstance(m, ErasedInput)]
    assert after < 1e-6 < 1e-2 < before


def test_an_audit_judges_it_as_the_run_did(expunge):
    audited = expunge("audit", "model.safetensors", ERASED, "--attribute", "colour", "--json")
    assert audited.code in (0, 1), audited.err
    reported = expunge("report", "runs/r1", "--json")
    assert reported.body["verdict"] == audited.body["verdict"]["word"]


def test_a_request_that_follows_starts_from_it_and_adds_no_layer(expunge, change):
    change("expunge.toml", "model.safetensors", ERASED)
    again = ("--attribute", "colour", "--set", "condition_on=nothing")
    ended = expunge("run", "--method", "mean_projection", *again, "--id", "r2")
    assert ended.code in (0, 1), ended.err
    first, second = (load_tensors(f"runs/{run}/model.safetensors")[0] for run in ("r1", "r2"))
    assert first.keys() == second.keys()
    compared = expunge("compare", "--method", "leace", "--method", "mean_projection", *again)
    assert compared.code in (0, 1), compared.err


def test_weights_of_another_model_are_refused_by_their_names(expunge):
    tensors, _ = load_tensors(ERASED)
    save_tensors("other.safetensors", {f"body.{name}": value for name, value in tensors.items()})
    ended = expunge("audit", "model.safetensors", "other.safetensors", "--attribute", "colour")
    assert ended.code == 2
    assert "does not fit the model" in ended.err


def test_two_attributes_are_not_one_of_them(expunge):
    both = ("--attribute", "colour", "--attribute", "size")
    ended = expunge("run", "--method", "leace", *both, "--id", "r3")
    assert ended.code == 2
    assert "--attribute names 'colour' and 'size'" in ended.err
    assert "Request(...), Request(...)" in ended.err
