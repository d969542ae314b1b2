"""A rehearsal of a project's pipeline, from the shell."""

import pytest

from expunge.rehearsal import Rehearsal

pytestmark = pytest.mark.usefixtures("project", "hasty")

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1", "--rehearse", "20")


def test_a_rehearsal_is_kept_and_is_part_of_the_evidence(expunge, project):
    ended = expunge(*RUN, "--id", "r9", "--json")
    assert ended.code in (0, 1)
    names = [m["name"] for m in ended.body["evidence"]["measurements"]]
    assert "rehearsal p" in names
    kept = Rehearsal.read(project / "runs" / "r9" / "rehearsal.json")
    told = ended.body["evidence"]["provenance"]["digests"]["pledge of the rehearsal"]
    assert kept.pledge.commitment == told


def test_a_rehearsal_is_announced(expunge):
    body = expunge(*RUN, "--dry-run", "--json").body
    (found,) = [item for item in body["items"] if item["what"] == "rehearsal"]
    assert found["to_train"] == 1
    assert "20 canaries" in found["why"]


def test_too_few_canaries_are_refused_before_any_work(expunge, project):
    ended = expunge(*RUN[:-1], "1")
    assert ended.code == 2
    assert "too few canaries" in ended.err
    assert "set 20 aside at least" in ended.err
    assert not (project / "cache").exists()


def test_without_a_fit_nothing_can_be_rehearsed(expunge, change):
    change("expunge.toml", 'fit = "toy_model:fit"\n', "")
    ended = expunge(*RUN)
    assert ended.code == 2
    assert "name a fit" in ended.err
