"""expunge.toml is read strictly, and what it names is made or explained."""

import linecache
import sys

import pytest
import torch
from safetensors.torch import save_model
from torch import nn

from expunge.cli.init import template
from expunge.cli.keys import Keys, read
from expunge.cli.project import Project, opened, with_weights
from expunge.errors import BadSetting, CannotRead, MissingInput, ModelDoesNotFit, UnknownName
from expunge.fitting import Fit


@pytest.fixture
def file(tmp_path):
    def written(text):
        path = tmp_path / "expunge.toml"
        path.write_text(text)
        return path

    return written


def test_init_writes_a_file_that_can_be_read(expunge, tmp_path):
    ended = expunge("init", tmp_path / "new", "--json")
    assert ended.body == {"written": str(tmp_path / "new/expunge.toml")}
    keys = read(tmp_path / "new/expunge.toml")
    assert (keys.model, keys.train, keys.audit.tier) == ("model:build", "data:train", "standard")


def test_init_never_replaces_a_file_unless_told_to(expunge, tmp_path):
    path = tmp_path / "expunge.toml"
    path.write_text("mine")
    assert expunge("init", tmp_path).code == 2
    assert path.read_text() == "mine"
    assert expunge("init", tmp_path, "--force").code == 0
    assert path.read_text() == template()


def test_init_says_when_the_folder_cannot_be_written(expunge, tmp_path):
    (tmp_path / "file").write_text("")
    ended = expunge("init", tmp_path / "file")
    assert ended.code == 2
    assert "CannotWrite" in ended.err


def test_every_key_is_in_the_template():
    text = template()
    names = [*Keys.__dataclass_fields__, "tier", "seeds", "metrics", "ledger", "runs", "cache"]
    assert all(name in text for name in names)


def test_an_unknown_key_is_refused_with_the_nearest(file):
    with pytest.raises(UnknownName) as fault:
        read(file('modle = "a:b"'))
    assert fault.value.fact == "no key of expunge.toml is named 'modle'"
    assert fault.value.hint == "did you mean 'model'?"


def test_an_unknown_key_of_a_table_is_refused_with_the_nearest(file):
    with pytest.raises(UnknownName) as fault:
        read(file("[audit]\nseed = 3"))
    assert "[audit]" in fault.value.fact
    assert "seeds" in fault.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = 3", "model is 3"),
        ('[audit]\ntier = "strictest"', "audit.tier is 'strictest'"),
        ('[audit]\nmetrics = "aus"', "audit.metrics is 'aus'"),
        ("audit = 3", "audit is 3"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_key(file, text, words):
    with pytest.raises(BadSetting, match=r"expunge\.toml: ") as fault:
        read(file(text))
    assert words in fault.value.fact


@pytest.mark.parametrize("text", ["model = ", "[audit", "\x00"])
def test_a_file_that_is_no_toml_is_refused(file, text):
    with pytest.raises(CannotRead, match="TOML"):
        read(file(text))


def test_seeds_may_be_listed(file):
    assert read(file("[audit]\nseeds = [3, 5]")).audit.seeds == (3, 5)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("toy_data", "is no address"),
        ("toy_datum:train", "No module named 'toy_datum'"),
        ("toy_data:train_set", "no attribute 'train_set'"),
        ("toy_model:build", "cannot be read by position"),
    ],
)
def test_an_address_that_names_nothing_useful_is_explained(project, address, words):
    with (
        opened(project / "expunge.toml") as found,
        pytest.raises(BadSetting) as fault,
    ):
        _ = Project(found.file, Keys(train=address)).train
    assert words in fault.value.fact
    assert fault.value.hint


def test_a_file_that_python_cannot_read_is_named_with_its_line(project, change):
    change("toy_data.py", "def test():", "def test()")
    with opened(project / "expunge.toml") as found, pytest.raises(BadSetting) as fault:
        _ = found.test
    assert "SyntaxError" in fault.value.fact
    assert "toy_data.py, line 13" in fault.value.fact


def test_a_model_that_is_no_module_is_refused(project):
    with opened(project / "expunge.toml") as found, pytest.raises(BadSetting, match="a TensorData"):
        Project(found.file, Keys(model="toy_data:test")).fresh()


def test_a_key_left_out_is_asked_for(project):
    with pytest.raises(MissingInput, match="names no train"):
        _ = Project(project / "expunge.toml", Keys()).train
    with pytest.raises(MissingInput, match="names no weights"):
        Project(project / "expunge.toml", Keys()).model()


def test_a_fit_of_expunge_is_a_recipe_that_tells_its_progress(project, change):
    change("toy_model.py", "def fit(", "from expunge import Fit\nloop = Fit(epochs=1)\n\ndef fit(")
    change("expunge.toml", "toy_model:fit", "toy_model:loop")
    heard = []
    with opened(project / "expunge.toml") as found:
        recipe = found.recipe(lambda *step: heard.append(step))
        assert isinstance(recipe.fit, Fit)
        recipe.fit(recipe.build(), found.train)
        assert recipe.describe() == found.recipe().describe()
    assert heard == [("train", 1, 1)]


def test_a_class_is_no_fit(project):
    with opened(project / "expunge.toml") as found, pytest.raises(BadSetting, match="the class"):
        Project(found.file, Keys(fit="expunge.fitting:Fit")).recipe()


def test_chosen_metrics_are_measured_and_no_others(project, change):
    change("expunge.toml", "seeds = 2", 'seeds = 2\nmetrics = ["accuracy", "membership"]')
    with opened(project / "expunge.toml") as found:
        assert [type(metric).__name__ for metric in found.metrics()] == ["Accuracy", "Membership"]


def test_tied_weights_that_a_file_holds_once_are_found(tmp_path):
    def build():
        model = nn.Sequential(nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False))
        model[1].weight = model[0].weight
        return model

    trained = build()
    save_model(trained, str(tmp_path / "tied.safetensors"))
    found = with_weights(build(), tmp_path / "tied.safetensors")
    assert found[0].weight is found[1].weight
    torch.testing.assert_close(found[0].weight, trained[0].weight)


def test_weights_of_another_model_are_refused_by_name(project):
    model = nn.Sequential(nn.Linear(7, 12), nn.ReLU(), nn.Linear(12, 3))
    with pytest.raises(ModelDoesNotFit, match=r"0\.weight has shape \(11, 7\) in the file"):
        with_weights(model, project / "model.safetensors")


def test_a_recipe_hangs_on_how_a_model_is_built_and_on_no_other_key(project, change):
    def told():
        with opened(project / "expunge.toml") as found:
            return found.recipe().describe()["build"]

    first = told()
    change("expunge.toml", "seeds = 2", "seeds = 3")
    assert told() == first
    del sys.modules["toy_model"]
    linecache.clearcache()
    change("toy_model.py", "nn.ReLU()", "nn.Tanhshrink()")  # no weight starts elsewhere
    assert told() != first
