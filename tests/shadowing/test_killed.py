"""A process that is killed in the middle of an ensemble loses at most what it was at."""

import signal
import subprocess
import sys
import time

import pytest

CALL = """
import sys
import torch
from torch import nn
from torch.utils.data import TensorDataset
from expunge import Classification, Fit, Recipe, shadow

x = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
data = TensorDataset(x, (x[:, 0] > 0).long())
recipe = Recipe(lambda: nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 2)), Fit(epochs=40), "small")
found = shadow(recipe, data, task=Classification(), count=12, cache=sys.argv[1], way="loop")
print(len(found), found.digest)
"""


def started(folder):
    return subprocess.Popen(
        [sys.executable, "-c", CALL, str(folder)], stdout=subprocess.PIPE, text=True
    )


def written(folder):
    """What is on disk, and since when."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/*.safetensors")}


@pytest.mark.slow
def test_killed_shadow_models_go_on_and_none_is_trained_twice(tmp_path):
    with started(tmp_path / "killed") as first:
        deadline = time.monotonic() + 100
        while len(written(tmp_path / "killed")) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    kept = written(tmp_path / "killed")
    assert 5 <= len(kept) < 24
    said, _ = started(tmp_path / "killed").communicate()
    whole, _ = started(tmp_path / "whole").communicate()
    assert said == whole != ""
    now = written(tmp_path / "killed")
    assert {path: now[path] for path in kept} == kept
    assert len(now) == len(written(tmp_path / "whole"))
