"""A process that was told so hands freed memory out again without asking the system for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from expunge.keeping import LARGE_PAGES, keep_freed

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


_LARGE = """
import sys, torch
from expunge.keeping import keep_freed
if sys.argv[1] == "told":
    keep_freed()
held = [torch.ones(5_000_000) for _ in range(5)]  # 20 MB each
found = [line for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages")]
print(found[0].split()[1])
"""

_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def asked(script, how):
    command = [sys.executable, "-c", script, how]
    plain = {name: value for name, value in os.environ.items() if name not in LARGE_PAGES}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=plain)


def faults(how):
    done = asked(_FAULTS, how)
    if done.returncode == 3:
        pytest.skip("this C library cannot be told to keep memory")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the system's memory is given out elsewise")
def test_memory_that_a_step_freed_serves_the_next_one():
    assert faults("told") < faults("not told") / 5


@pytest.mark.skipif(
    not _ENABLED.exists() or "[madvise]" not in _ENABLED.read_text(),
    reason="this system gives large pages to all or to nobody",
)
def test_tensors_lie_in_large_pages_once_it_was_told():
    done = {how: asked(_LARGE, how) for how in ("told", "not told")}
    assert [each.returncode for each in done.values()] == [0, 0], done
    kilobytes = {how: int(each.stdout) for how, each in done.items()}
    assert kilobytes["told"] > 50_000
    assert kilobytes["not told"] < 10_000


def test_where_nothing_can_be_told_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed()
