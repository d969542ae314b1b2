"""Audit, report and ledger."""

import pytest
import torch

from expunge.errors import CannotWrite
from expunge.ledger import Ledger
from expunge.reporting import Page
from expunge.storing import load_tensors, save_tensors

pytestmark = pytest.mark.usefixtures("project")

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1")


def test_audit_judges_a_pair_that_somebody_else_made(expunge, project):
    weights, _ = load_tensors(project / "model.safetensors")
    torch.save({name: value * 0.5 for name, value in weights.items()}, project / "after.pt")
    arguments = ("audit", "model.safetensors", "after.pt", "--classes", "2", "--out", "judged")
    ended = expunge(*arguments, "--json")
    provenance = ended.body["evidence"]["provenance"]
    assert provenance["method"] == "somebody else's"
    assert provenance["reference_seeds"] == [0, 1]
    assert {p.name for p in (project / "judged").iterdir()} == {
        "evidence.json",
        "verdict.json",
        "report.html",
    }
    assert not (project / "ledger.db").exists()


@pytest.mark.usefixtures("hasty")
def test_an_untouched_model_is_residual(expunge):
    ended = expunge("audit", "model.safetensors", "model.safetensors", "--classes", "2", "--json")
    removed = {m["name"]: m for m in ended.body["evidence"]["measurements"]}
    assert removed["test accuracy, removed classes"]["value"] > 0.5
    assert (ended.code, ended.body["verdict"]["word"]) == (1, "residual")


def test_audit_refuses_a_pickle_and_weights_that_do_not_fit(expunge, project):
    torch.save({"model": object}, project / "evil.pt")
    ended = expunge("audit", "model.safetensors", "evil.pt", "--classes", "2")
    assert (ended.code, "weights only" in ended.err) == (2, True)
    save_tensors(project / "other.safetensors", {"0.weight": torch.zeros(2, 2)})
    ended = expunge("audit", "other.safetensors", "model.safetensors", "--classes", "2")
    assert (ended.code, "0.weight has shape (2, 2)" in ended.err) == (2, True)


def test_a_report_is_written_again_with_its_seal(expunge, ran):
    seal = expunge("ledger", "verify", "--json").body["seal"]
    before = (ran / "report.html").read_text()
    (ran / "report.html").unlink()
    ended = expunge("report", ran, "--json")
    assert ended.body["seal"] == seal
    assert (ran / "report.html").read_text() == before


def test_a_report_of_edited_evidence_is_not_written_over_the_sealed_one(expunge, ran):
    sealed = (ran / "report.html").read_bytes()
    edited(ran)
    ended = expunge("report", ran)
    assert ended.code == 2
    assert "LedgerTampered" in ended.err
    assert (ran / "report.html").read_bytes() == sealed


def test_a_report_of_what_is_no_evidence_is_refused(expunge, ran):
    assert "not evidence" in expunge("report", ran / "verdict.json").err
    assert "not readable" in expunge("report", ran / "nothing.json").err


def test_a_report_that_cannot_be_written_is_told(expunge, ran):
    ended = expunge("report", ran, "--out", ran / "evidence.json" / "page.html")
    assert ended.code == 2
    assert "CannotWrite" in ended.err


@pytest.mark.usefixtures("ran")
def test_the_ledger_is_shown_and_verified(expunge):
    shown = expunge("ledger", "show", "--json").body
    assert [entry["kind"] for entry in shown] == ["opened", "settled"]
    assert shown[1]["body"]["request"] == "r1"
    assert "r1" in expunge("ledger", "show").out
    seal = shown[1]["seal"]
    verified = expunge("ledger", "verify", "--seal", seal[:8], "--json")
    assert (verified.code, verified.body["seal"]) == (0, seal)
    assert "ledger.db: 2 entries" in expunge("ledger", "verify", "ledger.db").out


@pytest.mark.usefixtures("ran")
def test_a_seal_that_the_ledger_does_not_hold_ends_with_2(expunge):
    ended = expunge("ledger", "verify", "--seal", "0" * 64)
    assert ended.code == 2
    assert "LedgerTampered" in ended.err


def test_a_ledger_that_is_not_there_is_told_and_not_made(expunge, project):
    assert expunge("ledger", "verify").code == 2
    assert not (project / "ledger.db").exists()


@pytest.mark.usefixtures("hasty")
def test_nothing_is_entered_under_a_subjects_name(expunge, project):
    expunge(*RUN, "--tier", "smoke", "--subject", "Ada")
    with Ledger(project / "ledger.db") as ledger:
        assert "Ada" not in str([entry.body for entry in ledger])


@pytest.fixture
def waiting(ran, project):
    """The folder of a run that was killed before it was entered."""
    for name in ("ledger.db", "ledger.db.key", "runs/r1/report.html"):
        (project / name).unlink()
    return ran


@pytest.mark.usefixtures("waiting")
def test_a_run_that_was_never_entered_can_be_entered_later(expunge, ran):
    entered = expunge("ledger", "settle", ran, "--json")
    assert entered.code == 0
    seal = entered.body["seal"]
    assert expunge("ledger", "verify", "--seal", seal[:12]).code == 0
    assert seal in (ran / "report.html").read_text()
    again = expunge("ledger", "settle", ran)
    assert again.code == 2
    assert "has an entry about" in again.err
    assert "expunge report" in again.err


def edited(run):
    """Change the evidence of a run in a way that no check of its numbers can notice."""
    path = run / "evidence.json"
    path.write_text(path.read_text().replace('"machine": "', '"machine": "another '))


@pytest.mark.usefixtures("ran")
def test_edited_evidence_of_a_settled_request_is_not_entered_a_second_time(expunge, ran):
    edited(ran)
    ended = expunge("ledger", "settle", ran)
    assert ended.code == 2
    assert "has an entry about request r1" in ended.err


def written(name, old, new):
    """Change a word of one of a run's files."""

    def change(run):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return change


def another_model(run):
    weights, notes = load_tensors(run / "model.safetensors")
    weights["2.bias"] += 1
    save_tensors(run / "model.safetensors", weights, notes)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (edited, "verdict.json"),
        (written("verdict.json", '"degraded": ', '"degraded": 0, "was": '), "verdict.json"),
        (written("request.json", '"seed": 0', '"seed": 1'), "request.json"),
        (written("request.json", '"kind": "classes"', '"kind": "samples"'), "request.json"),
        (another_model, "model.safetensors"),
    ],
    ids=["evidence", "verdict", "seed", "target", "model"],
)
def test_what_was_changed_since_the_run_is_not_entered(expunge, waiting, change, name):
    change(waiting)
    ended = expunge("ledger", "settle", waiting)
    assert ended.code == 2
    assert f"{name} and evidence.json contradict each other" in ended.err
    assert [entry["kind"] for entry in expunge("ledger", "show", "--json").body] == ["opened"]


def test_a_run_for_a_subject_is_not_entered_without(expunge, waiting):
    written("request.json", '"subject named": false', '"subject named": true')(waiting)
    ended = expunge("ledger", "settle", waiting)
    assert ended.code == 2
    assert "--subject NAME" in ended.err
    assert expunge("ledger", "settle", waiting, "--subject", "Ada").code == 0
    assert expunge("ledger", "show", "--json").body[-1]["body"]["subject"] != ""


def test_a_report_that_fails_after_the_entry_is_finished_by_writing_it_again(
    expunge, waiting, monkeypatch
):
    def full(_page, path):
        raise CannotWrite(f"{path} could not be written: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Page, "save", full)
        ended = expunge("ledger", "settle", waiting)
    assert f"`expunge report {waiting}` does the rest" in ended.err
    assert expunge("report", waiting, "--json").body["seal"] != ""


def test_a_request_whose_date_is_none_is_told_and_not_entered(expunge, waiting):
    written("request.json", '"due": null', '"due": "soon"')(waiting)
    assert "does not say any more what was asked" in expunge("ledger", "settle", waiting).err


def test_a_crash_never_reads_like_a_verdict(expunge, ran, monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr("expunge.judging.judge", broken)
    ended = expunge("report", ran, "--json")
    assert ended.code == 2
    assert "nobody foresaw this" in ended.body["fact"]
