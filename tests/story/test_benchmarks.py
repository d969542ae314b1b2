"""A table from nothing: trained, run, written; and a second run that has nothing left to do."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
TABLE = RUN.with_name("duck.toml")
STAGES = """
import sys
import time

import run

given = sys.argv[1:]
for stage in ("train", "rows", "page"):
    sys.argv[1:] = [*given, "--stage", stage]
    run.main()
"""


def called(command, out, cache):
    subprocess.run(
        [sys.executable, *command, str(TABLE), "--quick", "--out", str(out)],
        check=True,
        cwd=RUN.parent,
        env=os.environ | {"EXPUNGE_CACHE": str(cache)},
        capture_output=True,
    )
    return json.loads((out / "duck.json").read_text()), (out / "duck.md").read_text()


def staged(out, cache):
    """All stages one after another in one process, which imports torch once."""
    return called(("-c", STAGES), out, cache)


def test_a_quick_table_says_that_it_is_quick_and_resumes(tmp_path):
    raw, page = staged(tmp_path / "out", tmp_path / "cache")
    assert raw["quick"] is True
    assert "quick run" in page
    assert {row["row"] for row in raw["rows"]} == {"duck", "finetune", "neggrad", "random_labels"}
    (duck,) = [row for row in raw["rows"] if row["row"] == "duck"]
    assert duck["measurements"]["AUS"]["value"] > 0.9
    assert duck["measurements"]["AUS"]["references"]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "rows").iterdir()}
    again, _ = staged(tmp_path / "out", tmp_path / "cache")
    assert again == raw
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.slow
def test_a_table_may_be_spread_over_several_processes(tmp_path):
    raw, _ = called((str(RUN),), tmp_path / "out", tmp_path / "cache")
    assert {row["row"] for row in raw["rows"]} == {"duck", "finetune", "neggrad", "random_labels"}
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "rows").iterdir()}
    again, _ = called((str(RUN),), tmp_path / "out", tmp_path / "cache")
    assert again == raw
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.slow
def test_a_table_that_is_killed_goes_on_where_it_was(tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    command = [sys.executable, str(RUN), str(TABLE), "--quick", "--out", str(out)]
    environment = os.environ | {"EXPUNGE_CACHE": str(cache)}
    running = subprocess.Popen(
        command, cwd=RUN.parent, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    while not [*cache.glob("rows/*.json")]:
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("rows/*.json")}
    raw, _ = called((str(RUN),), out, cache)
    assert {row["row"] for row in raw["rows"]} == {"duck", "finetune", "neggrad", "random_labels"}
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
