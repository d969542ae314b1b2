"""A user's own model, from `expunge init` to `expunge ledger verify --seal`.

The shell trains it and takes the class out; commands around that run in this process, where torch
is imported already.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from expunge.__main__ import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_model"

MINE = '''
"""A method of the user's own, in one file."""

from dataclasses import dataclass

import torch
from torch import nn

from expunge.method import Case, Method


@dataclass(frozen=True)
class Shrink(Method):
    """Multiply every weight by a factor."""

    factor: float = 0.5

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(self.factor)
        case.report.note(f"all weights times {self.factor}")
        return model
'''


WRITTEN = (
    "Wrote expunge.toml. Fill in the names of your model and data, then run `expunge doctor`.\n"
)


def call(folder, *arguments):
    """Run a program there; give its exit code and what it printed."""
    # One thread: many small programs on a busy machine only wait for one another otherwise.
    alone = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=alone,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def expunge(project, capsys, monkeypatch):
    """A command in this process; the user's modules are forgotten afterwards."""
    monkeypatch.chdir(project)

    def called(*arguments):
        with pytest.raises(SystemExit) as end:
            main([*arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.err, said.err
        return end.value.code or 0, said.out

    yield called
    for name, module in [*sys.modules.items()]:
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(project):
            del sys.modules[name]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the example whose model is trained."""
    folder = tmp_path_factory.mktemp("own") / "model"
    kept = ("*.py", "*.toml", "*.md")
    folder.mkdir()
    for path in [path for pattern in kept for path in EXAMPLE.glob(pattern)]:
        shutil.copy(path, folder)
    assert call(folder, "training.py") == (0, "")
    return folder


def test_from_init_to_a_verified_seal(project, expunge):
    assert expunge("init", "--force") == (0, WRITTEN)
    filled_in = project / "expunge.toml"
    text = filled_in.read_text()
    filled_in.write_text(text.replace("# fit =", "fit =").replace("# task =", "task ="))
    assert expunge("doctor", "--classes", "2") == (0, "No problem found.\n")

    run = ("run", "--method", "finetune", "--classes", "2", "--id", "first", "--json")
    code, out = call(project, "-m", "expunge", *run, "--subject", "a visitor")
    found = json.loads(out)
    assert code == int(found["verdict"]["word"] == "residual" or found["verdict"]["degraded"])
    assert len(found["evidence"]["provenance"]["reference_seeds"]) == 5

    assert expunge("report", "runs/first", "--out", "again.html")[0] == 0
    assert (project / "again.html").read_text() == Path(project, found["report"]).read_text()
    assert found["seal"] in (project / "again.html").read_text()
    assert expunge("ledger", "verify", "--seal", found["seal"])[0] == 0


def test_a_method_in_a_file_of_the_users_own_runs_from_the_command_line(project, expunge):
    package = project / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shrinking.py").write_text(MINE)
    name = "mine.shrinking:Shrink"
    code, out = expunge(
        "compare",
        "--method",
        name,
        "--method",
        "finetune",
        "--set",
        f"{name}.factor=0.25",
        "--samples",
        "3,14,15",
        "--tier",
        "smoke",
        "--json",
    )
    seen = json.loads(out)["methods"][name]["evidence"]["provenance"]
    assert code in (0, 1)
    assert seen["method"] == name
    assert seen["settings"] == {"factor": 0.25}
    assert seen["notes"] == ["all weights times 0.25"]
    code, out = expunge("run", "--method", name, "--classes", "2", "--set", "facto=1", "--json")
    assert code == 2
    assert json.loads(out)["hint"] == "did you mean 'factor'?"
