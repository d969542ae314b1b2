"""A table from nothing: trained, run, written; and a second run that has nothing left to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"


def run(out, cache):
    subprocess.run(
        [sys.executable, str(RUN), str(RUN.with_name("duck.toml")), "--quick", "--out", str(out)],
        check=True,
        env=os.environ | {"EXPUNGE_CACHE": str(cache)},
        capture_output=True,
    )
    return json.loads((out / "duck.json").read_text()), (out / "duck.md").read_text()


def test_a_quick_table_says_that_it_is_quick_and_resumes(tmp_path):
    raw, page = run(tmp_path / "out", tmp_path / "cache")
    assert raw["quick"] is True
    assert "quick run" in page
    assert {row["row"] for row in raw["rows"]} == {"duck", "finetune", "neggrad", "random_labels"}
    (duck,) = [row for row in raw["rows"] if row["row"] == "duck"]
    assert duck["measurements"]["AUS"]["value"] > 0.9
    assert duck["measurements"]["AUS"]["references"]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "rows").iterdir()}
    again, _ = run(tmp_path / "out", tmp_path / "cache")
    assert again == raw
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
