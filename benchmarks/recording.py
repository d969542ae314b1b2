"""What a tape costs a training step: `python benchmarks/recording.py`.

Two ResNet-18 of width 16 learn from the same random batches of 128, one of them recorded; they
take turns step by step, in random order, so that a busy machine slows both. Every step is timed
by the clock and by the processor. A start is written once in 200 steps, and timed by itself.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from expunge import record
from expunge.history.history import save_start
from expunge.history.segments import Segment
from expunge.problems.networks import resnet18

KEEP = 200
RESULTS = Path(__file__).parent / "results" / "recording.json"


def main() -> None:
    """Measure every way to keep gradients, and write all down."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--steps", type=int, default=60)
    told.add_argument("--out", type=Path, default=RESULTS)
    given = told.parse_args()
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "steps": given.steps,
    }
    for gradients in ("none", "bf16", "fp32"):
        found[gradients] = _measured(gradients, given.steps)
        print(gradients, found[gradients], flush=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


def _measured(gradients: Any, steps: int) -> dict[str, float]:
    random.seed(0)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        recorded = _descending(steps, {"to": Path(place) / "history", "gradients": gradients})
        runs = {"plain": _descending(steps), "recorded": recorded}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(steps):
            for name in random.sample([*runs], 2):
                times[name].append(next(runs[name]))
        start = _start_seconds(Path(place))
    clock, busy = (
        {name: median(each[kind] for each in told[3:]) for name, told in times.items()}
        for kind in (0, 1)
    )
    return {
        "plain step, seconds": clock["plain"],
        "recorded step, seconds": clock["recorded"],
        "start, seconds": start,
        "cost by the clock": _share(clock, start),
        "cost by the processor": _share(busy, start),
    }


def _share(step: dict[str, float], start: float) -> float:
    return (step["recorded"] - step["plain"] + start / KEEP) / step["plain"]


def _descending(steps: int, to: dict[str, Any] | None = None) -> Iterator[tuple[float, float]]:
    """One step of training each time it is asked: seconds by the clock and by the processor."""
    model, optimizer = _built()
    pictures = torch.randn(1280, 3, 32, 32)
    loader = DataLoader(
        TensorDataset(pictures, torch.arange(1280) % 10), batch_size=128, shuffle=True
    )
    made = 0
    with nullcontext() if to is None else record(model, optimizer, keep=KEEP, **to) as tape:
        while made < steps:
            batches = iter(loader if tape is None else tape.watch(loader))
            for _ in range(min(len(loader), steps - made)):
                began = time.perf_counter(), time.process_time()
                x, y = next(batches)
                optimizer.zero_grad()
                cross_entropy(model(x), y).backward()
                optimizer.step()
                made += 1
                yield time.perf_counter() - began[0], time.process_time() - began[1]


def _built() -> tuple[nn.Module, SGD]:
    model = resnet18(width=16)
    return model, SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)


def _start_seconds(place: Path) -> float:
    model, optimizer = _built()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    began = time.perf_counter()
    save_start(Segment(place, 0), model, optimizer)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
