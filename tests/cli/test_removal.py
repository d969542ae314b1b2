"""An attribute from request to verdict: what is asked of the models, and what the demo shows."""

from functools import partial
from pathlib import Path

import pytest

from expunge import tiers
from expunge.algebra.families import FAMILIES, neighbours
from expunge.auditing import Evidence
from expunge.cli import demo
from expunge.ledger import Ledger
from expunge.metrics.leakage import Leakage
from expunge.metrics.reattack import Reattack
from expunge.problems import coloured_digits
from expunge.storing import read_json

LEAKS = "conditional leakage (bits), sign"
KEEP = ("--set", "rare=0")  # so small a layer has no features to spare
RETURNS = "re-attack above an untrained model (bits), sign"


@pytest.fixture(autouse=True)
def _few_probes(monkeypatch):
    """Probes that are quick: what they find is tested elsewhere."""
    monkeypatch.setattr("expunge.probing.FAMILIES", dict.fromkeys(FAMILIES, neighbours))
    monkeypatch.setattr("expunge.metrics.leakage._ON_THE_WAY", 1)
    monkeypatch.setattr(tiers, "Leakage", partial(Leakage, families=("linear", "k-NN")))
    monkeypatch.setattr(tiers, "Reattack", partial(Reattack, labels=(16,), steps=10))


@pytest.fixture
def signed(project, change):
    """The small project, whose task can read the sign of an input."""
    reading = (
        "from expunge import Classification\n"
        "task = Classification(attributes={'sign': lambda batch: (batch[0][:, 6] > 0).long()})\n"
    )
    (project / "toy_data.py").write_text((project / "toy_data.py").read_text() + reading)
    change("toy_data.py", "_made(45, 2)", "_made(245, 2)")
    change("expunge.toml", "[audit]", 'task = "toy_data:task"\n\n[audit]')
    return project


def test_a_run_about_an_attribute_asks_probes_and_attackers_and_judges(expunge, signed):
    ended = expunge("run", "--method", "leace", "--attribute", "sign", *KEEP, "--id", "r1")
    assert ended.code in (0, 1), ended.err
    folder = signed / "runs" / "r1"
    evidence = Evidence.from_json((folder / "evidence.json").read_bytes())
    assert evidence.provenance.reference_seeds == ()
    for name in (LEAKS, RETURNS):  # the project builds untrained models
        assert evidence.measurement(name).value is not None
        assert evidence.measurement(name).floor is not None
    assert evidence.measurement("reference line: an untrained model (bits), sign").value is not None
    verdict = read_json(folder / "verdict.json", "verdict")
    assert all("sign" in reason for reason in verdict["reasons"])
    assert "To forget: the attribute “sign”. Method: leace" in ended.out
    assert LEAKS in ended.out
    report = (folder / "report.html").read_text()
    for words in ("layer by layer", "learnt again", "Accuracy by group of sign", "what decides"):
        assert words in report


@pytest.mark.usefixtures("signed")
def test_metrics_that_a_project_names_are_told_how_a_model_is_built(expunge, change):
    change("expunge.toml", "[audit]", '[audit]\nmetrics = ["leakage"]')
    ended = expunge("run", "--method", "leace", "--attribute", "sign", *KEEP, "--json")
    assert ended.code in (0, 1), ended.out
    found = {m["name"]: m["value"] for m in ended.body["evidence"]["measurements"]}
    assert found["reference line: an untrained model (bits), sign"] is not None


def test_a_comparison_shows_what_removal_costs(expunge, signed):
    methods = ("--method", "leace", "--method", "mean_projection")
    ended = expunge("compare", *methods, "--attribute", "sign", *KEEP, "--out", "page.html")
    assert ended.code in (0, 1), ended.err
    assert "What it costs to remove sign" in (signed / "page.html").read_text()


def test_the_demo_removes_the_colour_of_digits(expunge, tmp_path, monkeypatch):
    small = partial(coloured_digits.coloured_digits, width=4, epochs=2)
    monkeypatch.setattr(coloured_digits, "coloured_digits", small)
    monkeypatch.setattr(demo, "FOR_ATTRIBUTES", ("leace", "mean_projection"))
    monkeypatch.setattr(demo, "_LESS", {**demo._LESS, "Reattack": {"labels": (16,), "steps": 10}})
    ended = expunge("demo", "--attribute", "--out", tmp_path / "demo", "--json")
    assert ended.code == 0, ended.out + ended.err
    told = ended.body
    assert [case["method"] for case in told["cases"]] == ["leace", "mean_projection"]
    for case in told["cases"]:
        assert case["targets"] == [{"kind": "attribute", "name": "colour"}]
        assert Path(case["file"]).is_file()
        assert case["verdict"]["reasons"]
    page = Path(told["report"]).read_text()
    assert "What it costs to remove colour" in page
    assert "retrained models" not in page[: page.index('id="case-')]
    with Ledger(told["ledger"]) as ledger:
        assert ledger.verify() == told["cases"][-1]["seal"]
