"""The first thing a newcomer runs: it must end well, and must not flatter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expunge import Ledger


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "expunge", "demo", "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def words(told, kind):
    cases = [case for case in told["cases"] if case["targets"][0]["kind"] == kind]
    return {case["method"]: case["verdict"] for case in cases}


def test_every_method_is_tried_on_both_requests(told):
    assert len(words(told, "classes")) == len(words(told, "samples")) == 4


def test_a_retrained_class_is_equivalent_and_finetuning_leaves_it(told):
    found = words(told, "classes")
    assert found["retrain"]["word"] == "equivalent"
    assert found["finetune"]["word"] == "residual"


def test_ten_samples_are_never_called_forgotten_and_the_reason_is_said(told):
    for verdict in words(told, "samples").values():
        assert verdict["word"] != "equivalent"
        assert verdict["reasons"]


def test_retraining_is_neither_residual_nor_degraded(told):
    for kind in ("classes", "samples"):
        verdict = words(told, kind)["retrain"]
        assert verdict["word"] != "residual"
        assert not verdict["degraded"]


def test_every_verdict_is_sealed_in_a_ledger_that_verifies(told):
    with Ledger(told["ledger"]) as ledger:
        assert ledger.verify() == told["cases"][-1]["seal"]
        for case in told["cases"]:
            ledger.verify(case["seal"])


def test_the_report_names_every_method(told):
    text = Path(told["report"]).read_text(encoding="utf-8")
    assert all(case["method"] in text for case in told["cases"])
