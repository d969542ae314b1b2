"""A person who stops a run in the middle finds nothing half-written."""

import os
import signal
import subprocess
import sys
import time

import pytest

RUN = ("run", "--method", "finetune", "--classes", "2", "--set", "epochs=1")


@pytest.fixture
def _interruptible():
    """What a script starts in the background ignores interrupts, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_a_real_interrupt_in_training_ends_with_130(project, change):
    change(
        "toy_model.py",
        "    for _ in range(40):",
        "    import time; time.sleep(60)\n    for _ in []:",
    )
    command = [sys.executable, "-m", "expunge", *RUN, "--id", "r1"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 60
        while not [*project.glob("cache/*/about.json")] and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said == "stopped; no half-written file remains.\n"
    assert [*(project / "runs").iterdir()] == []
