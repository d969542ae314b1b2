"""What detachment costs, and what it takes out of a toy: `python benchmarks/detaching.py [--toy]`.

Three ResNet-18 of width 16 learn from the same pictures of 64 by 64 in batches of 128: plainly,
with detachment end to end, and with detachment in four modules. They take turns step by step, in
random order, so that a busy machine slows all. Steps are timed by the clock and by the processor.
What follows an epoch is timed by itself, and shared out over the steps of an epoch as long as that
of UTKFace. The bytes held for backward passes are counted as they come and go, each memory once,
and without the weights.

With `--toy`, the probes that a small network withstands after every way to remove an attribute.
"""

import argparse
import json
import os
import platform
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from removing import page, table
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD
from torch.utils.data import TensorDataset

from expunge import Attribute, Classification
from expunge.batching import Batches
from expunge.method import Case
from expunge.methods.detach import Detach, _Walk
from expunge.problems.networks import resnet18
from expunge.splitting import Part

BATCH, CLASSES, GROUPS = 128, 10, 4
EPOCH, LOOKED = 18_971, 6_000  # samples that UTKFace retains, and those that a new estimate takes
RESULTS = Path(__file__).parent / "results"
WAYS = {"detached": Detach(batch=BATCH), "in four modules": Detach(batch=BATCH, cuts=3)}


def main() -> None:
    """Measure, and write all down beside what was measured before."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--toy", action="store_true")
    told.add_argument("--steps", type=int, default=20)
    told.add_argument("--out", type=Path, default=RESULTS)
    given = told.parse_args()
    file = given.out / "detaching.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if given.toy:
        found["toy"] = table(print)
    else:
        found["cost"] = cost(given.steps)
        print(json.dumps(found["cost"], indent=1))
    file.write_text(json.dumps(found, indent=1) + "\n")
    parts = [_told(found["cost"])] * ("cost" in found) + [page(found["toy"])] * ("toy" in found)
    (given.out / "detaching.md").write_text("# Detachment\n\n" + "\n".join(parts))


def _told(cost: dict[str, Any]) -> str:
    lines = [f"| {asked} | {share:.2f} |" for asked, share in cost["asked"].items()]
    head = (
        f"## What it costs\n\nResNet-18 of width 16, pictures of 64 by 64, batches of {BATCH}, "
        f"medians of {cost['steps']} steps in turns, in seconds of the processor on "
        f"{cost['threads']} thread; {cost['machine']}. What follows an epoch is shared out over "
        f"the {EPOCH:,} pictures of UTKFace. Four modules are three cuts.\n\n"
        "| | found |\n|---|---|\n"
    )
    return head + "\n".join(lines) + "\n"


def cost(steps: int) -> dict[str, Any]:
    """Seconds of a step, and bytes, of all three; and what is asked of them."""
    random.seed(0)
    torch.manual_seed(0)
    case = _case(BATCH * (steps + 1))
    walks = {name: _Walk.begun(how, resnet18(width=16), case) for name, how in WAYS.items()}
    runs = {"plain": _plain()} | {name: walk.step for name, walk in walks.items()}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    most: dict[str, int] = {}
    for k, (ids, batch) in enumerate(case.retain.indexed()):
        for name in random.sample([*runs], len(runs)):
            run = partial(runs[name], ids, batch)
            if k == 0:
                most[name] = held(run)
            else:
                times[name].append(_timed(run))
    renewal = _renewal(walks["detached"], len(case.retain.part))
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "steps": steps,
        "seconds": {n: median(clock for clock, _ in t) for n, t in times.items()},
        "processor seconds": {n: median(busy for _, busy in t) for n, t in times.items()},
        "processor seconds after an epoch": renewal,
        "bytes": most,
        "cuts": [*walks["in four modules"].cuts.layers],
        "asked": _asked(times, renewal, most),
    }


def _asked(
    times: dict[str, list[tuple[float, float]]], renewal: float, most: dict[str, int]
) -> dict[str, Any]:
    plain, whole, parts = (median(busy for _, busy in times[name]) for name in times)
    share = renewal * BATCH / EPOCH
    return {
        "detached to plain, at most 1.6": (whole + share) / plain,
        "in four modules to detached, at most 1.1": (parts + share) / (whole + share),
        "bytes in four modules to detached, at most .65": (
            most["in four modules"] / most["detached"]
        ),
    }


def _case(count: int) -> Case:
    x = torch.rand(count, 3, 64, 64)
    y, z = torch.randint(CLASSES, (count,)), torch.randint(GROUPS, (count,))
    part = Part.whole(TensorDataset(x, y, z))
    nobody = Part(part.source, part.indices[:0])
    task = Classification(attributes={"group": lambda batch: batch[2]})
    retain = Batches(part, BATCH, shuffle=True)
    return Case((Attribute("group"),), Batches(nobody), retain, None, task)


def _plain() -> Callable[[Tensor, Any], None]:
    model = resnet18(width=16).train()
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)

    def step(_ids: Tensor, batch: Any) -> None:
        loss = cross_entropy(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _renewal(walk: _Walk, count: int) -> float:
    """Seconds to estimate the erasure anew from as many samples as are taken in earnest."""
    bottleneck = walk.bottleneck
    if bottleneck is None:
        return 0.0
    _, busy = _timed(lambda: bottleneck.renew(walk.model))
    return busy * LOOKED / min(count, LOOKED)


def _timed(run: Callable[[], None]) -> tuple[float, float]:
    clock, busy = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - busy


@dataclass
class Held:
    """Memory that is held for a backward pass, and counted while it is."""

    x: Tensor
    counts: Counter[int]
    now: list[int]

    def __post_init__(self) -> None:
        """Count memory that nobody else holds."""
        self.place = self.x.untyped_storage().data_ptr()
        weight = self.x.is_leaf and self.x.requires_grad
        self.size = 0 if weight else self.x.untyped_storage().nbytes()
        if not self.counts[self.place]:
            self.now.append(self.now[-1] + self.size)
        self.counts[self.place] += 1

    def __del__(self) -> None:
        """Count it no more, once nobody holds it."""
        self.counts[self.place] -= 1
        if not self.counts[self.place]:
            self.now.append(self.now[-1] - self.size)


def held(run: Callable[[], None]) -> int:
    """The most bytes that a run holds for backward passes at any moment."""
    counts, now = Counter[int](), [0]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: Held(x, counts, now), lambda h: h.x):
        run()
    return max(now)


if __name__ == "__main__":
    main()
