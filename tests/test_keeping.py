"""A process that was told so hands freed memory out again without asking the system for it."""

import subprocess
import sys

import pytest

from expunge.keeping import keep_freed

_FAULTS = """
import resource, sys, torch
from expunge.keeping import keep_freed
if sys.argv[1] == "told" and not keep_freed():
    sys.exit(3)
step = lambda: [torch.ones(15_000_000) for _ in range(2)]  # 60 MB each
for _ in range(20):  # until every block has found its place
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    command = [sys.executable, "-c", _FAULTS, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this C library cannot be told to keep memory")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's memory is given out elsewise")
def test_memory_that_a_step_freed_serves_the_next_one():
    assert faults("told") < faults("not told") / 5


def test_where_nothing_can_be_told_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
