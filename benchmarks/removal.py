"""What one removal costs: `python benchmarks/removal.py --data DIR`.

One sample is taken out of a ResNet-18 of width 16 on CIFAR-10, end to end, with the settings as
they come; then out of one of width 64, whose 4,810 units are the most that is asked for, to see
how much memory that takes (untrained: memory does not depend on the weights). A low-rank solve
is compared with a dense one at the size of one filter of that network.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

import expunge
from expunge import Request, Samples
from expunge.algebra.curvature import dense, woodbury
from expunge.methods.lcodec import Lcodec
from expunge.problems.archives import cache_folder
from expunge.problems.cifar10 import cifar10

FILTER = 4608  # parameters of one filter of 512 channels, 3 by 3
RESULTS = Path(__file__).parent / "results" / "removal.json"


def main() -> None:
    """Measure each in a process of its own, and write all down."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--data", type=Path, default=os.environ.get("EXPUNGE_DATA"))
    told.add_argument("--only", choices=("narrow", "wide", "solve"))
    given = told.parse_args()
    if given.only:
        print(json.dumps(_measured(given.only, given.data)))
        return
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
    }
    for part in ("narrow", "wide", "solve"):
        command = [sys.executable, __file__, "--data", str(given.data), "--only", part]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[part] = json.loads(answer)
        print(part, found[part], flush=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def _measured(part: str, data: Path | None) -> dict[str, Any]:
    match part:
        case "narrow":
            return _removed(data, width=16, count=6)
        case "wide":
            return _removed(data, width=64, count=1)
        case _:
            return _solved()


def _removed(data: Path | None, *, width: int, count: int) -> dict[str, Any]:
    """Seconds of every removal of a short stream: the first also pays for what comes once."""
    problem = cifar10(data=data, width=width, epochs=8, augment=False)
    trained = width == 16
    model = problem.trained(0, cache_folder()) if trained else problem.recipe.build().eval()
    request = Request(Samples(tuple(range(count))))
    parts = expunge.split(problem.train, request, test=problem.test, validation=problem.validation)
    ends: list[float] = []
    started = time.perf_counter()
    expunge.unlearn(
        model, parts, Lcodec(utility_drop=1.0), task=problem.task,
        progress=lambda *_: ends.append(time.perf_counter()),
    )  # fmt: skip
    whole = time.perf_counter() - started
    each = [later - sooner for sooner, later in pairwise(ends)]
    return {
        "width": width,
        "removals": count,
        "seconds": whole,
        "seconds of one": median(each) if each else whole,
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def _solved() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(2, FILTER, generator=draw, dtype=torch.float64)
    pull = torch.randn(FILTER, generator=draw, dtype=torch.float64)
    signs = torch.tensor([1.0, -0.01], dtype=torch.float64)
    quick, fast = _timed(lambda: woodbury(rows, pull, damping=0.01, signs=signs).x, 50)
    matrix = rows.T * signs @ rows
    slow, plain = _timed(lambda: dense(matrix, pull, damping=0.01).x, 3)
    return {
        "parameters": FILTER,
        "woodbury seconds": quick,
        "dense seconds": slow,
        "ratio": slow / quick,
        "largest difference": (fast - plain).abs().max().item(),
    }


def _timed(work: Any, times: int) -> tuple[float, torch.Tensor]:
    taken, found = [], work()
    for _ in range(times):
        started = time.perf_counter()
        found = work()
        taken.append(time.perf_counter() - started)
    return median(taken), found


if __name__ == "__main__":
    main()
