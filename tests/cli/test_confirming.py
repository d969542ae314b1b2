"""What was changed in a run's folder after its entry is told by all who look at the ledger."""

import json

import pytest
import torch

from expunge.cli import confirming
from expunge.storing import load_tensors, save_tensors

pytestmark = pytest.mark.usefixtures("project")


def swapped(run):
    """The original's weights in place of the unlearned ones, notes and all."""
    _, notes = load_tensors(run / "model.safetensors")
    weights, _ = load_tensors(run.parent.parent / "model.safetensors")
    save_tensors(run / "model.safetensors", weights, notes)


def edited(name, key, value):
    def change(run):
        body = json.loads((run / name).read_text())
        assert body[key] != value
        (run / name).write_text(json.dumps(body | {key: value}))

    return change


def broken(run):
    (run / "evidence.json").write_text("{")


def of_another_machine(run):
    path = run / "evidence.json"
    path.write_text(path.read_text().replace('"machine": "', '"machine": "another '))


def swapped_and_unjudged(run):
    """Who swaps a model may remove what would be held against it."""
    swapped(run)
    for name in ("verdict.json", "request.json", "evidence.json"):
        (run / name).unlink()


CHANGES = pytest.mark.parametrize(
    ("change", "name"),
    [
        (swapped, "model.safetensors"),
        (swapped_and_unjudged, "model.safetensors"),
        (edited("verdict.json", "word", "equivalent"), "verdict.json"),
        (edited("verdict.json", "tier", "strict"), "verdict.json"),
        (edited("request.json", "seed", 1), "request.json"),
        (of_another_machine, "evidence.json"),
        (broken, "evidence.json"),
    ],
    ids=["model", "model alone", "word", "tier", "request", "evidence", "no evidence"],
)


@CHANGES
def test_the_doctor_and_the_ledger_tell_what_was_changed_after_the_entry(
    expunge, ran, change, name
):
    change(ran)
    told = f"in runs/r1, {name} contradicts the ledger's entry"
    verified = expunge("ledger", "verify", "--json")
    assert verified.code == 2
    assert told in verified.body["fact"]
    assert "2 entries, each as it was written; but " in verified.body["fact"]
    (problem,) = expunge("doctor", "--json").body["problems"]
    assert told in problem["what"]
    assert "backup" in problem["hint"]


def test_evidence_that_was_copied_elsewhere_is_not_held_beside_what_lies_there(expunge, ran):
    copy = ran.parent.parent / "evidence.json"  # beside the original's weights
    copy.write_bytes((ran / "evidence.json").read_bytes())
    assert expunge("report", copy, "--json").body["seal"] != ""


@pytest.mark.parametrize("source", ["runs/r1", "runs/r1/evidence.json"])
def test_no_report_is_written_beside_a_model_that_is_not_the_one_it_is_about(expunge, ran, source):
    swapped(ran)
    edited("verdict.json", "word", "equivalent")(ran)
    before = (ran / "report.html").read_bytes()
    ended = expunge("report", source, "--json")
    assert ended.code == 2
    assert "model.safetensors and verdict.json contradict the ledger's" in ended.body["fact"]
    assert (ran / "report.html").read_bytes() == before


def test_runs_that_are_as_they_were_entered_are_named(expunge, ran):
    assert expunge("purge", "r1").code == 0  # takes positions out of a run, and nothing else
    assert expunge("ledger", "verify", "--json").body["runs"] == ["r1"]
    assert "agree with it: r1" in expunge("ledger", "verify").out
    assert expunge("doctor", "--json").body["problems"] == []
    (ran / "model.safetensors").unlink()  # moved to where it serves
    assert expunge("ledger", "verify").code == 0


def test_a_verdict_by_other_rules_than_todays_is_no_alarm(expunge, ran, monkeypatch):
    monkeypatch.setattr("expunge.judging.judge", lambda _: pytest.fail("judged anew"))
    assert ran.is_dir()
    assert expunge("ledger", "verify").code == 0
    assert expunge("doctor").code == 0


@pytest.mark.parametrize("named", [True, False], ids=["by path", "without runs"])
def test_a_ledger_alone_verifies_as_ever(expunge, ran, named):
    swapped(ran)
    if not named:
        ran.parent.rename(ran.parent.with_name("elsewhere"))
    ended = expunge("ledger", "verify", *(["ledger.db"] if named else []), "--json")
    assert (ended.code, ended.body["entries"], ended.body["runs"]) == (0, 2, [])


def test_every_changed_run_is_named_at_once(expunge, ran, project, monkeypatch):
    monkeypatch.setattr(confirming, "about", lambda known, *_: [known[-1]])
    (project / "runs/r2").mkdir()
    swapped(ran)
    save_tensors(project / "runs/r2/model.safetensors", {"x": torch.ones(2)})
    fact = expunge("ledger", "verify", "--json").body["fact"]
    assert "in runs/r1, model.safetensors" in fact
    assert "; in runs/r2, model.safetensors" in fact
