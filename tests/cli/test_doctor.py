"""Everything that is wrong with a project is listed at once, each with what to do."""

import pytest
import torch

from expunge.storing import load_tensors, save_tensors

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def doctor(expunge):
    """Ask the doctor; give the problems by where they are."""

    def asked(*arguments):
        ended = expunge("doctor", *arguments, "--json")
        problems = ended.body["problems"]
        assert ended.code == int(bool(problems))
        assert all(problem["hint"] for problem in problems)
        return {problem["where"]: problem["what"] for problem in problems}

    return asked


def test_a_sound_project_has_no_problem(doctor):
    assert doctor() == {}
    assert doctor("--classes", "2") == {}


def test_the_doctor_speaks_to_people_too(expunge, change):
    assert "No problem found." in expunge("doctor").out
    change("expunge.toml", "toy_data:train", "toy_data:train_set")
    ended = expunge("doctor")
    assert ended.code == 1
    assert "✕ train: " in ended.out
    assert "1 problem found." in ended.out


def test_all_problems_are_listed_at_once(doctor, change):
    change("expunge.toml", "toy_data:train", "toy_date:train")
    change("expunge.toml", 'weights = "model.safetensors"', 'weights = "nothing.safetensors"')
    change("expunge.toml", "toy_model:fit", "toy_model:fti")
    change("expunge.toml", "[audit]", 'modle = "x:y"\ntask = "toy_data:test"\n\n[audit]')
    change("expunge.toml", "seeds = 2", 'seeds = "few"\nteir = "smoke"')
    found = doctor()
    assert set(found) == {"expunge.toml", "train", "weights", "fit", "task"}
    assert "No module named 'toy_date'" in found["train"]
    assert "nothing.safetensors does not exist" in found["weights"]
    assert "which is no task" in found["task"]


def test_every_wrong_key_of_the_file_is_listed(expunge, change):
    change("expunge.toml", "[audit]", 'modle = "x:y"\nvalidation = 3\n\n[audit]')
    change("expunge.toml", "seeds = 2", 'seeds = "few"\nteir = "smoke"\ntier = "strictest"')
    problems = expunge("doctor", "--json").body["problems"]
    said = [problem["what"] + problem["hint"] for problem in problems]
    for word in ("'model'", "'tier'", "audit.seeds", "audit.tier", "validation"):
        assert any(word in text for text in said), word


def test_weights_that_do_not_fit_name_the_parameter(doctor, project):
    weights, _ = load_tensors(project / "model.safetensors")
    weights["2.bias"] = torch.zeros(4)
    weights["head"] = weights.pop("0.bias")
    save_tensors(project / "model.safetensors", weights)
    what = doctor()["weights"]
    assert "2.bias has shape (4,) in the file and (3,) in the model" in what
    assert "0.bias is missing from the file" in what
    assert "the model has no head" in what


def test_weights_that_are_not_finite_are_named(doctor, project):
    weights, _ = load_tensors(project / "model.safetensors")
    weights["2.bias"][1] = torch.nan
    save_tensors(project / "model.safetensors", weights)
    assert "2.bias" in doctor()["weights"]


def test_a_pickle_that_could_run_code_is_refused(doctor, project, change):
    torch.save({"model": object}, project / "model.pt")
    change("expunge.toml", "model.safetensors", "model.pt")
    assert "weights only" in doctor()["weights"]


def test_a_layer_that_is_not_there_is_named(doctor, change):
    change(
        "toy_data.py",
        "def test():",
        "from expunge import Classification\ntask = Classification(layer='boddy')\n\ndef test():",
    )
    change("expunge.toml", "[audit]", 'task = "toy_data:task"\n\n[audit]')
    found = doctor()
    assert "'boddy'" in found["model on train"]


def test_labels_out_of_range_are_counted_and_the_first_is_named(doctor, change):
    change(
        "toy_data.py",
        "train = _made(60, 1)",
        "train = _made(60, 1)\ntrain.tensors[1][5] = 3\ntrain.tensors[1][9] = -1",
    )
    what = doctor()["train"]
    assert "2 labels lie outside the model's 3 classes" in what
    assert "the first is 3, of sample 5" in what


@pytest.mark.parametrize("name", ["train", "test"])
def test_empty_data_are_named(doctor, change, name):
    change(
        "toy_data.py",
        "def test():",
        "nothing = TensorDataset(torch.zeros(0, 7), torch.zeros(0))\n\ndef test():",
    )
    change("expunge.toml", f"toy_data:{name}", "toy_data:nothing")
    assert doctor() == {name: f"{name} has no samples"}


def test_a_model_that_cannot_read_the_data_is_named(doctor, change):
    change(
        "toy_data.py",
        "torch.randn(count, 7, generator=draw) + 2 * torch.nn.functional.one_hot(y, 7)",
        "torch.randn(count, 6)",
    )
    assert "RuntimeError" in doctor()["model on train"]


@pytest.mark.parametrize("value", ["inf", "nan"])
def test_inputs_that_are_not_finite_are_told(doctor, change, value):
    change(
        "toy_data.py",
        "train = _made(60, 1)",
        "train = _made(60, 1)\ntrain.tensors[0][0, 0] = torch.VALUE".replace("VALUE", value),
    )
    assert doctor()["train"] == "some inputs are not finite"


def test_test_samples_that_were_trained_on_are_told(doctor, change):
    change(
        "toy_data.py",
        "    return _made(45, 2)",
        "    a = _made(45, 2)\n    a.tensors[0][8] = train.tensors[0][13]\n    return a",
    )
    what = doctor()["train and test"]
    assert "1 inputs are in both; test sample 8 is training sample 13" in what


def test_copies_of_the_forgotten_that_would_stay_are_told(doctor, change):
    change(
        "toy_data.py",
        "train = _made(60, 1)",
        "train = _made(60, 1)\ntrain.tensors[0][40] = train.tensors[0][3]",
    )
    assert "sample 3 is the same as sample 40" in doctor("--samples", "3,4")["forget and retain"]
    assert doctor("--samples", "3,40") == {}


def test_random_transforms_are_told(doctor, change):
    change(
        "toy_data.py",
        "def test():",
        """
class Shaken:
    def __len__(self):
        return 60
    def __getitem__(self, index):
        x, y = train[index]
        return x + torch.randn(7), y

shaken = Shaken()

def test():""",
    )
    change("expunge.toml", "toy_data:train", "toy_data:shaken")
    assert "differ when they are read again" in doctor()["train"]


def test_copies_are_looked_for_in_a_declared_number_of_samples(expunge, change, monkeypatch):
    monkeypatch.setattr("expunge.cli.examining.copies._MOST", 20)
    change(
        "toy_data.py",
        "def test():",
        """
class Plain:
    def __len__(self):
        return 60
    def __getitem__(self, index):
        return train[index]

plain = Plain()

def test():""",
    )
    change("expunge.toml", "toy_data:train", "toy_data:plain")
    ended = expunge("doctor", "--json")
    assert ended.body["problems"] == []
    assert "copies: 20 of the 60 samples of train were looked at." in ended.body["notes"]


def test_batchnorm_and_a_handful_of_samples_are_told(doctor, project, change):
    change("toy_model.py", "nn.Linear(7, 11), nn.ReLU()", "nn.Linear(7, 11), nn.BatchNorm1d(11)")
    weights, _ = load_tensors(project / "model.safetensors")
    ones = torch.ones(11)
    weights |= {f"1.{n}": ones for n in ("weight", "bias", "running_mean", "running_var")}
    weights["1.num_batches_tracked"] = torch.tensor(1)
    save_tensors(project / "model.safetensors", weights)
    assert "BatchNorm (1) and 2 samples" in doctor("--samples", "3,4")["request"]
    assert doctor() == {}


def test_a_request_that_does_not_fit_is_told(doctor):
    assert "label 7" in doctor("--classes", "7")["request"]
    assert "whole training set" in doctor("--classes", "0,1,2")["request"]


@pytest.mark.parametrize("name", ["ledger", "runs", "cache"])
def test_a_place_that_cannot_be_written_is_told(doctor, change, name):
    change("expunge.toml", "[audit]", f'[folders]\n{name} = "model.safetensors/x"\n\n[audit]')
    assert "cannot be written" in doctor()[f"[folders] {name}"]


def test_a_project_without_fit_is_told_what_it_misses(expunge, change):
    change("expunge.toml", 'fit = "toy_model:fit"', "")
    ended = expunge("doctor")
    assert ended.code == 0
    assert "no fit is named" in ended.out


def test_a_dataset_that_raises_is_told_with_file_and_line(doctor, change):
    change(
        "toy_data.py",
        "def test():",
        """
class Broken:
    def __len__(self):
        return 60
    def __getitem__(self, index):
        raise KeyError(index)

broken = Broken()

def test():""",
    )
    change("expunge.toml", "toy_data:train", "toy_data:broken")
    assert "fails at toy_data.py, line 18, in __getitem__: KeyError" in doctor()["train"]


def test_no_project_is_a_usage_error(expunge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = expunge("doctor")
    assert ended.code == 2
    assert "expunge init" in ended.err
