"""A purge takes forgotten samples out of all that the command line has written."""

import json

import pytest

from expunge.errors import CannotWrite
from expunge.storing import forget_file, load_tensors, read_json, write_json

pytestmark = pytest.mark.usefixtures("project")


def test_purge_removes_what_names_the_samples_and_keeps_the_evidence(expunge, ran, project):
    answers = [*project.glob("cache/*/*.answers.safetensors")]
    names = {"request.json", "scores.safetensors"}
    kept = {p: p.read_bytes() for p in ran.iterdir() if p.name not in names}
    assert (ran / "scores.safetensors").exists()
    ended = expunge("purge", "r1", "--json")
    asked = [path for path in answers if path.name.startswith("asked-")]
    assert len(asked) == 4  # two references, the original and an untrained model were taught again
    assert len(answers) == len(asked) + 2
    assert len(ended.body["removed"]) == len(answers) + 1
    assert not any(path.exists() for path in (*answers, ran / "scores.safetensors"))
    assert len([*project.glob("cache/*/reference-?.safetensors")]) == 2
    body = read_json(ran / "request.json", "request")
    assert body["positions"] == []
    assert body["target"] == {"kind": "classes", "labels": [2]}
    assert {p: p.read_bytes() for p in kept} == kept
    assert expunge("ledger", "verify").code == 0
    again = expunge("purge", "r1")
    assert again.code == 0
    assert "Nothing was left" in again.out


@pytest.fixture
def shared(expunge, hasty, project):  # noqa: ARG001 - it changes the project before the runs
    """Two runs that share samples: their folders, and every file that names samples."""
    for name, samples in (("a", "3,14"), ("b", "14,15")):
        run = ("run", "--method", "finetune", "--samples", samples, "--id", name)
        expunge(*run, "--set", "epochs=1", "--tier", "smoke")
    return project / "runs"


def test_purge_takes_the_samples_out_of_other_requests_too(expunge, shared):
    ended = expunge("purge", "a", "--json")
    assert len(ended.body["rewritten"]) == 2
    assert not [*shared.glob("*/scores.safetensors")]
    other = json.loads((shared / "b/request.json").read_text())
    assert other["positions"] == [15]
    assert "indices" not in other["target"]


@pytest.mark.parametrize("held", ["a/scores.safetensors", "b/scores.safetensors",
                                  "a/request.json", "b/request.json"])  # fmt: skip
def test_a_purge_that_failed_half_way_is_finished_by_the_next(expunge, shared, monkeypatch, held):
    def unless_held(of):
        def done(path, *more):
            if path == shared.relative_to(shared.parent) / held:
                raise CannotWrite(f"{path} could not be written: it is somebody else's")
            return of(path, *more)

        return done

    with monkeypatch.context() as patch:
        patch.setattr("expunge.cli.purging.forget_file", unless_held(forget_file))
        patch.setattr("expunge.cli.runs.write_json", unless_held(write_json))
        failed = expunge("purge", "a")
    assert failed.code == 2
    assert "somebody else's" in failed.err
    assert expunge("purge", "a", "--json").body["rewritten"]
    assert not [*shared.glob("*/scores.safetensors")]
    assert read_json(shared / "a/request.json", "request")["positions"] == []
    assert read_json(shared / "b/request.json", "request")["positions"] == [15]


def test_what_an_earlier_purge_left_of_its_own_run_goes_with_the_next(expunge, ran):
    scores = (ran / "scores.safetensors").read_bytes()
    expunge("purge", "r1")
    (ran / "scores.safetensors").write_bytes(scores)
    ended = expunge("purge", "r1")
    assert "Nothing was left" not in ended.out
    assert not (ran / "scores.safetensors").exists()


def test_purge_of_an_unknown_request_is_told(expunge):
    assert expunge("purge", "nobody").code == 2
    assert expunge("purge", "../../etc").code == 2


@pytest.mark.parametrize("change", [{"positions": None}, {"positions": [1.5]}, {"target": "2"}])
def test_an_edited_request_is_told_and_nothing_is_purged(expunge, ran, change):
    body = json.loads((ran / "request.json").read_text()) | change
    (ran / "request.json").write_text(json.dumps(body))
    ended = expunge("purge", "r1")
    assert ended.code == 2
    assert "does not say any more what was asked" in ended.err
    assert (ran / "scores.safetensors").exists()


@pytest.mark.usefixtures("ran")
def test_a_shelf_that_cannot_be_told_is_named_with_what_to_do(expunge, project):
    (about,) = project.glob("cache/*/about.json")
    about.write_text("{")
    ended = expunge("purge", "r1")
    assert ended.code == 2
    assert f"remove {about.parent.relative_to(project)}" in ended.err.replace("\n", " ")


@pytest.fixture
def compared(expunge, hasty, project):  # noqa: ARG001 - it changes the project before
    """A project whose cache tells of samples that no run names."""
    methods = ("--method", "finetune", "--method", "random_labels")
    ended = expunge("compare", *methods, "--samples", "3,14", "--set", "finetune.epochs=1")
    assert ended.code != 2, ended.err
    (about,) = [
        p for p in project.glob("cache/*/about.json") if read_json(p, "references")["forget"]
    ]
    return about


def test_samples_that_no_run_names_are_purged_from_the_cache(expunge, compared, project):
    assert [*project.glob("cache/*/*.answers.safetensors")]
    ended = expunge("purge", "--samples", "3,14", "--json")
    assert ended.code == 0
    assert ended.body["removed"]
    assert not [*project.glob("cache/*/*.answers.safetensors")]
    assert read_json(compared, "references")["forget"] == []


def test_a_purge_of_samples_takes_them_out_of_runs_as_well(expunge, shared):
    ended = expunge("purge", "--samples", "14", "--json")
    assert len(ended.body["rewritten"]) == 2
    assert not [*shared.glob("*/scores.safetensors")]
    assert read_json(shared / "a/request.json", "request")["positions"] == [3]


@pytest.mark.usefixtures("shared")
def test_a_purge_of_a_class_leaves_the_others_alone(expunge, project):
    ended = expunge("purge", "--classes", "0", "--json")  # 3 and 15 are of it, 14 is not
    assert len(ended.body["rewritten"]) == 2
    for name in ("a", "b"):
        body = read_json(project / "runs" / name / "request.json", "request")
        assert body["positions"] == [14]


@pytest.mark.parametrize(
    "named", [(), ("r1", "--samples", "3"), ("--samples", "3", "--classes", "1")]
)
def test_a_purge_wants_to_know_of_what(expunge, named):
    ended = expunge("purge", *named)
    assert ended.code == 2
    assert "--samples 3,14" in ended.err


def test_the_doctor_names_the_command_that_purges_what_no_run_names(expunge, compared):
    (note,) = expunge("doctor", "--json").body["notes"]
    assert str(compared.parent.name) in note
    assert "`expunge purge --samples 3,14` removes it" in note
    expunge("purge", "--samples", "3,14")
    assert expunge("doctor", "--json").body["notes"] == []


@pytest.mark.usefixtures("compared")
def test_the_doctor_says_what_to_remove_where_the_data_are_others_by_now(expunge, change):
    change("expunge.toml", "toy_data:train", "toy_data:test")
    (note,) = expunge("doctor", "--json").body["notes"]
    assert "another training set: remove the folder" in note


@pytest.mark.usefixtures("ran")
def test_the_doctor_is_silent_about_what_a_run_names(expunge):
    assert expunge("doctor", "--json").body["notes"] == []


@pytest.mark.usefixtures("hasty")
def test_a_run_keeps_who_is_in_its_model_apart_and_a_purge_removes_it(expunge, project):
    run = ("run", "--method", "closed_form", "--samples", "3,14", "--id", "r", "--tier", "smoke")
    expunge(*run)
    known, _ = load_tensors(project / "runs/r/members.safetensors")
    assert (~known["2.present"]).nonzero().flatten().tolist() == [3, 14]
    weights, _ = load_tensors(project / "runs/r/model.safetensors")
    assert "2.present" not in weights
    assert "runs/r/members.safetensors" in expunge("purge", "r", "--json").body["removed"]
