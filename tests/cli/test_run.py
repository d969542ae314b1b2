"""One request, from the data to a sealed verdict, and all the ways in which that can end."""

import json

import pytest
import torch

from expunge.auditing import Evidence
from expunge.cli.steps import ending
from expunge.errors import CannotWrite
from expunge.judging import Verdict
from expunge.ledger import Ledger
from expunge.reporting import Page
from expunge.storing import load_tensors, read_json

pytestmark = pytest.mark.usefixtures("project")

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1")
RETRAIN = ("run", "--method", "retrain", "--classes", "2")
FILES = {"request.json", "model.safetensors", "evidence.json", "scores.safetensors",
         "verdict.json", "report.html"}  # fmt: skip


def left(folder):
    """Every file below a folder, without the caches of Python."""
    paths = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)) for p in paths}


def test_a_run_leaves_model_evidence_verdict_report_and_a_sealed_entry(expunge, project):
    ended = expunge(*RUN, "--id", "r1", "--subject", "Ada Lovelace", "--reason", "asked", "--json")
    folder = project / "runs" / "r1"
    assert ended.code in (0, 1)
    assert {path.name for path in folder.iterdir()} == FILES
    evidence = Evidence.from_json((folder / "evidence.json").read_bytes())
    assert evidence.request_ids == ("r1",)
    assert evidence.provenance.reference_seeds == (0, 1)
    assert ended.body["verdict"]["word"] == read_json(folder / "verdict.json", "verdict")["word"]
    seal = ended.body["seal"]
    assert seal in (folder / "report.html").read_text()
    with Ledger(project / "ledger.db", project="toy") as ledger:
        assert ledger.verify(seal[:8]) == seal
    weights, notes = load_tensors(folder / "model.safetensors")
    assert set(weights) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert notes["requests"] == "r1"


@pytest.mark.usefixtures("hasty")
def test_the_subject_is_in_no_file(expunge, project):
    expunge(*RUN, "--tier", "smoke", "--subject", "Ada Lovelace")
    holding = [path for path in left(project) if b"Lovelace" in (project / path).read_bytes()]
    assert holding == []


def test_the_printed_table_names_verdict_reasons_paths_and_seal(expunge, project):
    ended = expunge(*RUN, "--id", "r1")
    verdict = read_json(project / "runs/r1/verdict.json", "verdict")
    assert f" {verdict['word']}" in ended.out
    assert all(reason in ended.out for reason in verdict["reasons"])
    assert "test accuracy, removed" in ended.out
    assert "runs/r1/report.html" in ended.out
    assert "Seal     " in ended.out
    assert "class 2 (20 of 60 training samples)" in ended.out
    assert ended.err == ""


@pytest.mark.usefixtures("ran", "hasty")
def test_a_second_run_takes_the_references_from_the_cache(expunge, project):
    before = {p: p.stat().st_mtime_ns for p in (project / "cache").rglob("reference-?.safetensors")}
    expunge(*RUN, "--id", "r2")
    after = {p: p.stat().st_mtime_ns for p in (project / "cache").rglob("reference-?.safetensors")}
    assert len(before) == 2
    assert before == after


@pytest.mark.usefixtures("hasty")
def test_the_same_seed_gives_the_same_weights(expunge, project):
    for name in ("a", "b"):
        expunge(*RUN, "--tier", "smoke", "--seed", "5", "--id", name)
    a, b = (load_tensors(project / f"runs/{n}/model.safetensors")[0] for n in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("word", "degraded", "usual", "strict"),
    [
        ("equivalent", False, 0, 0),
        ("equivalent", True, 1, 1),
        ("residual", False, 1, 1),
        ("inconclusive", False, 0, 1),
        ("inconclusive", True, 1, 1),
    ],
)
def test_the_verdict_decides_the_exit_code(word, degraded, usual, strict):
    verdict = Verdict(word, degraded, ("because",), "smoke")
    assert ending([verdict], strict=False) == usual
    assert ending([verdict], strict=True) == strict


@pytest.mark.usefixtures("hasty")
def test_with_strict_an_inconclusive_run_ends_with_1(expunge):
    assert expunge(*RUN, "--tier", "smoke", "--strict").code == 1


@pytest.mark.usefixtures("hasty")
def test_samples_can_be_read_from_a_file(expunge, project):
    (project / "ids.txt").write_text("3\n14\n")
    ended = expunge(
        "run", "--method", "neggrad", "--samples", "@ids.txt", "--tier", "smoke", "--id", "s"
    )
    assert "2 samples (2 of 60 training samples)" in ended.out
    assert json.loads((project / "runs/s/request.json").read_text())["positions"] == [3, 14]


@pytest.mark.usefixtures("hasty")
@pytest.mark.usefixtures("hasty")
def test_methods_with_commas_between_are_run_in_order_as_one(expunge, project):
    both = ("run", "--method", "neggrad,finetune", "--set", "neggrad.steps=5", "--set", "epochs=1")
    expunge(*both, "--classes", "2", "--id", "r1", "--tier", "smoke")
    seen = Evidence.from_json((project / "runs" / "r1" / "evidence.json").read_bytes()).provenance
    assert seen.method == "neggrad,finetune"
    assert (seen.settings["neggrad.steps"], seen.settings["finetune.epochs"]) == (5, 1)
    assert "neggrad,finetune" in (project / "runs" / "r1" / "report.html").read_text()


def test_retrain_takes_the_projects_recipe(expunge):
    ended = expunge("run", "--method", "retrain", "--classes", "2", "--tier", "smoke", "--json")
    assert ended.body["evidence"]["provenance"]["method"] == "retrain"


@pytest.mark.usefixtures("hasty")
def test_a_project_without_fit_says_why_nothing_can_be_concluded(expunge, change):
    change("expunge.toml", 'fit = "toy_model:fit"', "")
    ended = expunge(*RUN)
    assert ended.code == 0
    assert "inconclusive" in ended.out
    assert "names no fit" in ended.out
    assert expunge("run", "--method", "retrain", "--classes", "2").err.count("fit = ") == 1


REFUSED = [
    (("--method", "finetun", "--classes", "2"), "no method is named 'finetun'", "finetune"),
    (("--method", "finetune", "--classes", "2", "--set", "epoch=1"), "'epoch'", "epochs"),
    (("--method", "finetune", "--classes", "2", "--set", "epochs=x"), "whole number", "epochs=10"),
    (("--method", "finetune", "--classes", "9"), "label 9", "labels are"),
    (("--method", "finetune", "--samples", "99"), "the first is 99", "from 0 to 59"),
    (("--method", "finetune", "--samples", "1,1"), "more than once", "once"),
    (("--method", "finetune", "--samples=-1"), "the first is -1", "from 0"),
    (("--method", "finetune", "--classes", "0,1,2"), "whole training set", "delete"),
    (("--method", "finetune", "--attribute", "age"), "Attribute", "expunge methods"),
    (("--method", "finetune", "--classes", "2", "--tier", "stric"), "'stric'", "strict"),
    (("--method", "finetune", "--classes", "2", "--id", "../x"), "'../x'", "letters"),
    (("--method", "toy_model:Nothing", "--classes", "2"), "no attribute 'Nothing'", "beside"),
    (("--method", "toy_modle:Nothing", "--classes", "2"), "No module named", "module:Class"),
    (("--method", "torch.nn:Linear", "--classes", "2"), "is no method", "Method"),
]


@pytest.mark.parametrize(("arguments", "fact", "hint"), REFUSED)
def test_bad_input_is_a_fact_and_a_hint_and_leaves_no_run(expunge, project, arguments, fact, hint):
    before = left(project)
    ended = expunge("run", *arguments, "--json")
    assert ended.code == 2
    assert fact in ended.body["fact"]
    assert hint in ended.body["hint"]
    assert left(project) - before <= {"ledger.db", "ledger.db.key"}


def test_a_request_is_carried_out_once(expunge, ran):
    before = {path: path.read_bytes() for path in ran.iterdir()}
    ended = expunge(*RUN, "--id", "r1")
    assert ended.code == 2
    assert "exists already" in ended.err
    assert len(before) == len(FILES)
    assert {path: path.read_bytes() for path in ran.iterdir()} == before


@pytest.mark.usefixtures("hasty")
def test_a_request_whose_run_was_killed_is_finished_and_not_carried_out_again(expunge, monkeypatch):
    def full(*_):
        raise CannotWrite("the ledger could not be used: database or disk is full")

    again = (*RUN, "--tier", "smoke", "--id", "r1", "--subject", "Ada")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "settle", full)
        ended = expunge(*again)
    settle = "`expunge ledger settle runs/r1 --subject NAME`"
    assert f"{settle} does the rest" in ended.err
    assert f"never entered in the ledger: {settle}" in expunge(*again).err
    assert f"never entered in the ledger: {settle}" in expunge("doctor").out
    assert expunge("ledger", "settle", "runs/r1", "--subject", "Ada").code == 0
    assert "`expunge report runs/r1` writes its report again" in expunge(*again).err
    assert "never entered" not in expunge("doctor").out


@pytest.mark.usefixtures("ran")
def test_a_ledger_of_another_project_is_refused_before_any_work(expunge, change):
    change("expunge.toml", 'name = "toy"', 'name = "other"')
    change("toy_model.py", "def fit(model, dataset):", "def fit(*_):\n    raise SystemError")
    ended = expunge(*RETRAIN)
    assert ended.code == 2
    assert "another project" in ended.err


@pytest.mark.usefixtures("ran")
def test_a_key_that_a_subject_needs_is_asked_for_before_any_work(expunge, change, project):
    (project / "ledger.db.key").unlink()
    change("toy_model.py", "def fit(model, dataset):", "def fit(*_):\n    raise SystemError")
    ended = expunge(*RETRAIN, "--subject", "Ada")
    assert ended.code == 2
    assert "ledger.db.key is gone" in ended.err


def test_a_ledger_that_cannot_be_written_is_refused_before_any_work(expunge, change):
    change("expunge.toml", "[audit]", '[folders]\nledger = "expunge.toml/ledger.db"\n\n[audit]')
    change("toy_model.py", "def fit(model, dataset):", "def fit(*_):\n    raise SystemError")
    ended = expunge(*RETRAIN)
    assert ended.code == 2
    assert "ledger" in ended.err
    assert "Traceback" not in ended.err


def test_runs_that_cannot_be_written_are_refused_before_any_work(expunge, change):
    change("expunge.toml", "[audit]", '[folders]\nruns = "model.safetensors/runs"\n\n[audit]')
    change("toy_model.py", "def fit(model, dataset):", "def fit(*_):\n    raise SystemError")
    ended = expunge(*RETRAIN)
    assert ended.code == 2
    assert "[folders] runs" in ended.err


@pytest.mark.usefixtures("hasty")
def test_a_report_that_cannot_be_written_loses_nothing_else(expunge, project, monkeypatch):
    def full(_page, path):
        raise CannotWrite(f"{path} could not be written: no space left", hint="free some space.")

    monkeypatch.setattr(Page, "save", full)
    ended = expunge(*RUN, "--tier", "smoke", "--id", "r1")
    assert ended.code == 2
    assert "report.html could not be written" in ended.err
    assert "are kept in runs/r1" in ended.err
    assert "`expunge report runs/r1` does the rest" in ended.err
    assert {path.name for path in (project / "runs/r1").iterdir()} == FILES - {"report.html"}
    monkeypatch.undo()
    again = expunge("report", project / "runs/r1", "--config", project / "expunge.toml", "--json")
    assert again.body["seal"] != ""


def test_a_diverging_method_says_at_which_step_and_leaves_no_run(expunge, project):
    ended = expunge("run", "--method", "finetune", "--classes", "2", "--set", "lr=1e30")
    assert ended.code == 2
    assert ended.err.startswith("Diverged: ")
    assert "step" in ended.err
    assert left(project / "runs") == set()


def test_faults_in_the_users_code_name_key_address_file_and_line(expunge, change):
    change("toy_data.py", "    return _made(45, 2)", "    raise ValueError('no such disk')")
    ended = expunge(*RUN)
    assert ended.code == 2
    assert 'test = "toy_data:test" fails at toy_data.py, line 14, in test' in ended.err
    assert "ValueError: no such disk" in ended.err
    assert "Traceback" not in ended.err


def test_faults_in_a_users_dataset_name_its_file_and_line(expunge, change):
    extra = """
class Broken:
    def __len__(self):
        return 60
    def __getitem__(self, index):
        raise KeyError(f"sample {index} is gone")

broken = Broken()
"""
    change("toy_data.py", "def test():", f"{extra}\ndef test():")
    change("expunge.toml", "toy_data:train", "toy_data:broken")
    ended = expunge(*RUN)
    assert ended.code == 2
    assert "toy_data.py, line" in ended.err
    assert "in __getitem__" in ended.err
    assert 'train = "toy_data:broken"' in ended.err
    assert "is gone" in ended.err


def test_ctrl_c_ends_quietly_and_leaves_no_half_written_file(expunge, project, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    before = left(project)
    monkeypatch.setattr("expunge.cli.steps.audit", interrupted)
    ended = expunge(*RUN, "--id", "r1")
    assert ended.code == 130
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    new = {path for path in left(project) - before if not path.startswith("cache/")}
    assert new == {"ledger.db", "ledger.db.key"}
    assert not any(path.endswith(".partial") for path in left(project))
