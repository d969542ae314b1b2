"""Experiments on the evidence from nothing: measured, kept, written, and gone on with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "run.py"
SEVERAL = """
import json
import os
import sys
from pathlib import Path

import run

run.main()
place = sys.argv.index("--out") + 1
told = json.loads(Path(sys.argv[place], "evidence.json").read_text())
*_, lost = [body["key"] for each in told["experiments"] for body in each["parts"]]
Path(os.environ["EXPUNGE_CACHE"], "experiments", f"{lost}.json").unlink()
run.main()
sys.argv[place] = str(run.RESULTS)
try:
    run.main()
except SystemExit as why:
    print(why)
"""
ONE = "What nothing looks like"


def called(command, out, cache, *more):
    """What is written to a page and its JSON, and what is said meanwhile; no data are at hand."""
    plain = {name: value for name, value in os.environ.items() if name != "EXPUNGE_DATA"}
    told = subprocess.run(
        [sys.executable, *command, "evidence.toml", "--quick", "--out", str(out), *more],
        check=True,
        cwd=RUN.parent,
        env=plain | {"EXPUNGE_CACHE": str(cache)},
        capture_output=True,
        text=True,
    )
    raw = json.loads((out / "evidence.json").read_text())
    return raw, (out / "evidence.md").read_text(), told.stdout.splitlines()


def test_an_experiment_says_that_it_is_quick_and_goes_on_where_it_was_stopped(tmp_path):
    command = ("-c", SEVERAL)
    raw, page, said = called(command, tmp_path / "out", tmp_path / "cache", "--only", ONE)
    *said, refused = said
    told, said = said, [line.partition(";")[0] for line in said]
    assert told[len(told) - 2].endswith("; 0 left, about 0 min")
    parts = {e["name"]: e["parts"] for e in raw["experiments"]}
    assert raw["quick"] is True
    assert "quick run" in page
    assert [name for name, each in parts.items() if each] == [ONE]
    assert "## Canaries\n\nNot run." in page
    assert f"| {ONE} |" in page
    names = [f"{ONE}: {body['part']}" for body in parts[ONE]]
    assert said[: len(names)] == names
    assert len(said) == len(names) + 1  # what was lost, and nothing else, is measured again
    assert said[-1] in names
    assert refused.startswith("a quick run is not the real one")


@pytest.mark.slow
def test_every_experiment_that_needs_no_data_can_be_run(tmp_path):
    raw, page, said = called((str(RUN),), tmp_path / "out", tmp_path / "cache")
    empty = [e["name"] for e in raw["experiments"] if not e["parts"]]
    assert empty == ["Few shadow models", "CIFAR-10"]  # the first is quoted from another benchmark
    assert "CIFAR-10: left out, for want of --data" in said
    assert page.count("Not run") == 1
