"""How near one Newton step comes to retraining, where that can be told: convex problems.

`python benchmarks/exactness.py --data DIR` takes samples of MNIST out of logistic regression at
its optimum (mean loss + l2/2 · |w|²), all in one step on all parameters, and measures distances to
the optimum without them. The ratio says how many times farther doing nothing is.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import expunge
from expunge import Request, Samples
from expunge.algebra.parameters import distance
from expunge.batching import Batches
from expunge.methods.lcodec import Lcodec
from expunge.problems import Problem
from expunge.problems.archives import cache_folder
from expunge.problems.mnist import mnist
from expunge.splitting import Part, Split

RANDOM = {0.01: (1, 10, 100, 1000), 0.001: (100, 1000), 0.1: (100, 1000)}
SKEWED = {0.01: (100, 1000)}  # of one class
CLASS = 3


def main() -> None:
    """Measure every case that has not been measured, and write all of them down."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--data", type=Path, default=os.environ.get("EXPUNGE_DATA"))
    out = Path(__file__).parent / "results" / "exactness.json"
    told.add_argument("--out", type=Path, default=out)
    given = told.parse_args()
    kept = json.loads(given.out.read_text()) if given.out.exists() else {"cases": []}
    done = {_name(case) for case in kept["cases"]}
    for case in _cases():
        if _name(case) not in done:
            kept["cases"].append(case | _measured(case, given.data))
            kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {torch.__version__}"
            given.out.write_text(json.dumps(kept, indent=1) + "\n")
            print(kept["cases"][-1], flush=True)


def _cases() -> Iterator[dict[str, Any]]:
    for which, table in (("random", RANDOM), (f"class {CLASS}", SKEWED)):
        for l2, counts in table.items():
            yield from ({"which": which, "l2": l2, "removed": count} for count in counts)


def _name(case: dict[str, Any]) -> tuple[Any, ...]:
    return case["which"], case["l2"], case["removed"]


def _measured(case: dict[str, Any], data: Path | None) -> dict[str, Any]:
    problem = mnist(data=data, l2=case["l2"])
    original = problem.trained(0, cache_folder())
    parts = _split(problem, case)
    how = Lcodec(
        selection="full", curvature="hessian", l2=case["l2"], subsample=0, at_once=0,
        utility_drop=1.0, trust=10.0,
    )  # fmt: skip
    started = time.process_time()
    after = expunge.unlearn(original, parts, how, task=problem.task).after
    busy, started = time.process_time() - started, time.process_time()
    reference = problem.recipe.train(parts.retain)
    return _apart(original, after, reference) | {
        "seconds": busy,
        "retraining_seconds": time.process_time() - started,
    }


def _apart(original: nn.Module, after: nn.Module, reference: nn.Module) -> dict[str, Any]:
    nothing, step = distance(original, reference), distance(after, reference)
    return {"distance": step, "distance of doing nothing": nothing, "ratio": nothing / step}


def _split(problem: Problem, case: dict[str, Any]) -> Split:
    order = torch.randperm(len(problem.train), generator=torch.Generator().manual_seed(0))
    if case["which"] != "random":
        labels = problem.task.labels(Batches(Part.whole(problem.train)).take(order))
        order = order[labels == CLASS]
    target = Samples(tuple(order[: case["removed"]].tolist()))
    return expunge.split(
        problem.train, Request(target), test=problem.test, validation=problem.validation
    )


if __name__ == "__main__":
    main()
