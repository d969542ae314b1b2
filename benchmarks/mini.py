"""Mini-Unlearning on a convex problem: how near to the retrained optimum, at what price.

`python benchmarks/mini.py --data DIR` trains logistic regression on MNIST by SGD (mean loss +
l2/2 · |w|², double precision), records its last steps, and takes a share of the samples out by
several methods. Distances are to the optimum without these samples. Amnesiac takes back every step
whose batch held one of them; DeltaGrad and it read the history of the whole run. Seconds are those
of the processor, on one thread. Cases that results/mini.json holds are not measured again.
"""

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

import expunge
from expunge import Request, Samples
from expunge.algebra.parameters import distance
from expunge.batching import Batches
from expunge.history import History
from expunge.method import Method
from expunge.methods.finetune import Finetune
from expunge.methods.lcodec import Lcodec
from expunge.methods.mini import Mini
from expunge.problems import Problem
from expunge.problems.images import cache_folder
from expunge.problems.mnist import mnist
from expunge.splitting import Part, Split
from expunge.unlearning import seeded

STEPS, BATCH, LR, KEEP = 1070, 512, 0.1, 25  # between 25 and 50 steps can be read at the end
SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
CLASSES = (3, 8)  # of a skewed request: as many of these as there are, then others


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, the folders of its two histories, and what its training took."""

    model: nn.Module
    short: Path
    whole: Path
    seconds: float


def main() -> None:
    """Measure every case that is not measured yet, and write all of them down."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--data", type=Path, default=os.environ.get("EXPUNGE_DATA"))
    told.add_argument("--seeds", type=int, default=5)
    out = Path(__file__).parent / "results" / "mini.json"
    told.add_argument("--out", type=Path, default=out)
    given = told.parse_args()
    kept = json.loads(given.out.read_text()) if given.out.exists() else {"cases": []}
    done = {_name(case) for case in kept["cases"]}
    for case in _cases(given.seeds):
        if _name(case) not in done:
            kept["cases"].append(case | _measured(case, given.data))
            kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {torch.__version__}"
            given.out.write_text(json.dumps(kept, indent=1) + "\n")
            print(_spoken(kept["cases"][-1]), flush=True)


def _cases(seeds: int) -> Iterator[dict[str, Any]]:
    """What was asked for first: thirty in a hundred."""
    shares = sorted(SHARES, key=lambda share: share != 0.3)
    for seed, share, which, l2 in product(range(seeds), shares, ("random", "skewed"), (1e-3, 1e-2)):
        yield {"l2": l2, "share": share, "which": which, "seed": seed}


def _name(case: dict[str, Any]) -> tuple[Any, ...]:
    return case["l2"], case["share"], case["which"], case["seed"]


def _spoken(case: dict[str, Any]) -> str:
    rows = ", ".join(
        f"{name} {row['distance'] / case['nothing']:.2%} in {row['seconds']:.1f} s"
        for name, row in case["rows"].items()
    )
    return f"{_name(case)}: {rows}; retraining {case['retraining_seconds']:.1f} s"


def _measured(case: dict[str, Any], data: Path | None) -> dict[str, Any]:
    problem = mnist(data=data, l2=case["l2"])
    trained = _trained(problem, case)
    parts = _split(problem, case)
    best = deepcopy(trained.model)
    best = problem.recipe.fit(best, parts.retain)
    _, retraining = _timed(lambda: _descended(problem, parts.retain, case, []))
    ways: dict[str, Callable[[], nn.Module]] = {
        "mini": lambda: _unlearnt(trained, parts, problem, Mini(trained.short)),
        "mini, window and tail alone": lambda: _unlearnt(
            trained, parts, problem, Mini(trained.short, mode="linear", polish=0)
        ),
        "mini, window alone": lambda: _unlearnt(
            trained, parts, problem, Mini(trained.short, mode="replay", polish=0)
        ),
        "DeltaGrad": lambda: _unlearnt(
            trained, parts, problem, Mini(trained.whole, mode="delta", tail=False, polish=0)
        ),
        "Amnesiac": lambda: _amnesiac(trained, parts),
        "one Newton step": lambda: _unlearnt(trained, parts, problem, _newton(case["l2"])),
        "finetune": lambda: _unlearnt(trained, parts, problem, Finetune(epochs=1, lr=LR)),
    }
    rows = {name: _row(way, best) for name, way in ways.items()}
    for name, row in rows.items():
        folder = trained.whole if name in ("DeltaGrad", "Amnesiac") else trained.short
        row["bytes"] = 0 if name in ("one Newton step", "finetune") else _bytes(folder)
    outcome = expunge.unlearn(trained.model, parts, Mini(trained.short), task=problem.task)
    return {
        "nothing": distance(trained.model, best),
        "rows": rows,
        "certificate": outcome.traces["certificate"][-1][1],
        "notes": list(outcome.notes),
        "retraining_seconds": retraining,
        "training_seconds": trained.seconds,
    }


def _newton(l2: float) -> Lcodec:
    return Lcodec(
        selection="full", curvature="hessian", l2=l2, subsample=4096, at_once=0,
        utility_drop=1.0, trust=10.0,
    )  # fmt: skip


def _row(way: Callable[[], nn.Module], best: nn.Module) -> dict[str, float]:
    after, seconds = _timed(way)
    return {"distance": distance(after, best), "seconds": seconds}


def _timed(work: Callable[[], nn.Module]) -> tuple[nn.Module, float]:
    started = time.process_time()
    return work(), time.process_time() - started


def _unlearnt(trained: Trained, parts: Split, problem: Problem, method: Method) -> nn.Module:
    return expunge.unlearn(trained.model, parts, method, task=problem.task).after


def _amnesiac(trained: Trained, parts: Split) -> nn.Module:
    """Take back every step whose batch held somebody who leaves."""
    model, gone = deepcopy(trained.model), set(parts.forget.indices.tolist())
    with torch.no_grad():
        for step in History.open(trained.whole).steps:
            if gone.isdisjoint(torch.cat(step.ids).tolist()):
                continue
            for name, value in (step.gradient() or {}).items():
                model.get_parameter(name).add_(step.settings[0]["lr"] * value)
    return model


def _trained(problem: Problem, case: dict[str, Any]) -> Trained:
    """By SGD, recorded twice at once: the last steps, and all of them."""
    home = cache_folder() / "mini"
    home.mkdir(exist_ok=True)
    short, whole = (home / f"{case['l2']}-{case['seed']}-{name}" for name in ("short", "whole"))
    kept = home / f"{case['l2']}-{case['seed']}.pt"
    if kept.exists():
        model = problem.recipe.build()
        state = torch.load(kept, weights_only=True)
        model.load_state_dict(state["model"])
        return Trained(model.eval(), short, whole, state["seconds"])
    for folder in (short, whole):
        shutil.rmtree(folder, ignore_errors=True)
    everybody = Part.whole(problem.train)
    model, seconds = _timed(lambda: _descended(problem, everybody, case, [(short, KEEP)]))
    again = _descended(problem, everybody, case, [(whole, STEPS)])
    if distance(model, again):
        raise SystemExit("the same run twice did not end with the same weights")
    torch.save({"model": model.state_dict(), "seconds": seconds}, kept)
    return Trained(model, short, whole, seconds)


def _descended(
    problem: Problem, part: Part, case: dict[str, Any], tapes: list[tuple[Path, int]]
) -> nn.Module:
    """So many steps of SGD, on a tape where one is asked for."""
    with seeded(case["seed"]):
        model = problem.recipe.build()
        optimizer = SGD(model.parameters(), lr=LR, weight_decay=case["l2"])
        size = BATCH * len(part) // len(problem.train)
        batches = Batches(part, size, shuffle=True)
        if not tapes:
            return _walked(model, optimizer, batches)
        (folder, keep) = tapes[0]
        with expunge.record(model, optimizer, to=folder, keep=keep, gradients="fp32") as tape:
            return _walked(model, optimizer, tape.watch(batches))


def _walked(model: nn.Module, optimizer: SGD, batches: Any) -> nn.Module:
    done = 0
    while True:
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            done += 1
            if done == STEPS:
                return model.eval()


def _split(problem: Problem, case: dict[str, Any]) -> Split:
    order = torch.randperm(
        len(problem.train), generator=torch.Generator().manual_seed(100 + case["seed"])
    )
    if case["which"] == "skewed":
        order = _first(order, problem.train.labels)
    target = Samples(tuple(order[: int(case["share"] * len(order))].tolist()))
    return expunge.split(
        problem.train, Request(target), test=problem.test, validation=problem.validation
    )


def _first(order: Tensor, labels: Tensor) -> Tensor:
    inside = torch.isin(labels[order], torch.tensor(CLASSES))
    return torch.cat([order[inside], order[~inside]])


def _bytes(folder: Path) -> int:
    return History.open(folder).bytes


if __name__ == "__main__":
    main()
