"""Mini-Unlearning on a convex problem: how near to the retrained optimum, at what price.

`python benchmarks/convex.py --data DIR` trains logistic regression on MNIST by SGD (mean loss +
l2/2 · |w|², double precision), records it, and takes a share of the samples out by several methods.
Distances are to the optimum without these samples, as a share of what doing nothing has. DeltaGrad
and Amnesiac, which takes back every step whose batch held somebody who leaves, read the whole run;
Mini its last fifty steps. Seconds are those of the processor, on one thread. What
results/convex.json holds is not measured again.
"""

import argparse
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any, cast

import convex_page
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

import expunge
from expunge import Request, Samples
from expunge.algebra.parameters import distance
from expunge.batching import Batches
from expunge.history import History
from expunge.methods.finetune import Finetune
from expunge.methods.mini import Mini
from expunge.problems import Problem
from expunge.problems.archives import cache_folder
from expunge.problems.mnist import mnist
from expunge.problems.optimum import Optimum
from expunge.recording import Recording, Tape
from expunge.retracing.path import Ordered, Window, retrace
from expunge.splitting import Part, Split
from expunge.unlearning import seeded, warm

STEPS, BATCH, LR, MOMENTUM = 5000, 2048, 0.03, 0.99
SHORT = {"keep": 50, "every": 5}
PACED = 300  # steps that the price of retraining is measured on
SHARES = (0.3, 0.5, 0.2, 0.1, 0.05, 0.01)
CLASSES = (3, 8)  # of a skewed request: as many of these as there are, then others
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Stage:
    """A trained model, its two histories, who leaves, and the optimum without them."""

    problem: Problem
    model: nn.Module
    short: Path
    whole: Path
    parts: Split
    best: nn.Module
    case: dict[str, Any]


def main() -> None:
    """Measure what is not measured yet, Mini first, and write all of it down."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--data", type=Path, default=os.environ.get("EXPUNGE_DATA"))
    told.add_argument("--seeds", type=int, default=5)
    told.add_argument("--out", type=Path, default=RESULTS / "convex.json")
    given = told.parse_args()
    kept = json.loads(given.out.read_text()) if given.out.exists() else {"cases": []}
    kept["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    torch.set_num_threads(1)
    warm()
    ways: tuple[dict[str, Way], ...] = ({"mini": MINI}, RELATIVES)
    for rows, case in sorted(product(ways, _cases(given.seeds)), key=_rank):
        mine = _among(kept["cases"], case)
        todo = {name: way for name, way in rows.items() if name not in mine["rows"]}
        if todo:
            _fill(mine, todo, given.data)
            given.out.write_text(json.dumps(kept, indent=1) + "\n")
            given.out.with_suffix(".md").write_text(convex_page.page(kept))
            print(convex_page.spoken(mine), flush=True)


def _cases(seeds: int) -> Iterator[dict[str, Any]]:
    for seed, share, which, l2 in product(range(seeds), SHARES, ("random", "skewed"), (1e-3, 1e-2)):
        yield {"l2": l2, "share": share, "which": which, "seed": seed}


def _rank(work: tuple[dict[str, "Way"], dict[str, Any]]) -> int:
    """What says most comes first: Mini before its relatives, large shares before small ones."""
    rows, case = work
    relatives = 0 if rows is not RELATIVES else 1 if case["share"] >= 0.2 else 3
    return (2 if relatives else 1) * int(case["seed"]) + relatives + int(case["share"] != SHARES[0])


def _among(cases: list[dict[str, Any]], case: dict[str, Any]) -> dict[str, Any]:
    """The record of a case; a new one at the end, if there is none."""
    for each in cases:
        if all(each[name] == value for name, value in case.items()):
            return each
    cases.append(case | {"rows": {}})
    return cases[-1]


def _fill(mine: dict[str, Any], todo: dict[str, "Way"], data: Path | None) -> None:
    stage = _staged(mine, data)
    if todo.keys() & {"DeltaGrad", "Amnesiac"} and not stage.whole.exists():
        _record_whole(stage)
    mine["nothing"] = distance(stage.model, stage.best)
    mine["retraining_seconds"] = _price(stage)
    for name, way in todo.items():
        started = time.process_time()
        after, more = way(stage)
        seconds = time.process_time() - started
        mine["rows"][name] = {"distance": distance(after, stage.best), "seconds": seconds, **more}


Done = tuple[nn.Module, dict[str, Any]]
Way = Callable[[Stage], Done]


def _mini(stage: Stage, *, whole: bool = False, **settings: Any) -> Done:
    folder = stage.whole if whole else stage.short
    outcome = expunge.unlearn(
        stage.model, stage.parts, Mini(folder, **settings), task=stage.problem.task
    )
    asked = re.findall(r"([\d,]+) gradients of samples and ([\d,]+)", outcome.notes[-1])
    gradients, products = (int(text.replace(",", "")) for text in asked[0])
    return outcome.after, {
        "bytes": History.open(folder).bytes,
        "gradients": gradients,
        "products": products,
        "certificate": [value for _, value in outcome.traces.get("certificate", ())],
        "notes": list(outcome.notes),
    }


def _amnesiac(stage: Stage) -> Done:
    model, history = deepcopy(stage.model), History.open(stage.whole)
    gone = torch.zeros(history.size, dtype=torch.bool)
    gone[stage.parts.forget.indices] = True
    ordered = Ordered.of(history, model)
    place = ordered.place(model)
    for passed in retrace(Window.last(history, len(history.steps)), ordered, place):
        if gone[passed.ids].any():
            place = place - (passed.after.place - passed.before.place)
    ordered.put(model, place)
    return model, {"bytes": history.bytes, "gradients": 0, "products": 0}


def _finetune(stage: Stage) -> Done:
    way = Finetune(epochs=5, lr=LR, falling=False, momentum=0.9, weight_decay=stage.case["l2"])
    after = expunge.unlearn(stage.model, stage.parts, way, task=stage.problem.task).after
    return after, {"bytes": 0, "gradients": 5 * len(stage.parts.retain), "products": 0}


def _retrained(stage: Stage) -> Done:
    part = stage.parts.retain
    after = _descended(stage.problem, part, stage.case)
    return after, {"bytes": 0, "gradients": STEPS * _size(part), "products": 0}


MINI = partial(_mini, window=50)
RELATIVES: dict[str, Way] = {
    "window and tail": partial(_mini, window=50, mode="linear", polish=0),
    "window alone": partial(_mini, window=50, mode="linear", tail=False, polish=0),
    "one Newton step": partial(_mini, window=1, mode="linear", tail=True, polish=0),
    "DeltaGrad": partial(_mini, whole=True, mode="delta", tail=False, polish=0),
    "Amnesiac": _amnesiac,
    "fine-tuning": _finetune,
    "retraining by SGD": _retrained,
}


def _staged(case: dict[str, Any], data: Path | None) -> Stage:
    problem = mnist(data=data, l2=case["l2"])
    home = cache_folder() / "convex"
    home.mkdir(exist_ok=True)
    name = f"{case['l2']}-{case['seed']}"
    short, whole = home / f"{name}-short", home / f"{name}-whole"
    model = _kept(home / f"{name}.pt", lambda: _trained(problem, case, short))
    parts = _split(problem, case)
    optimum = replace(cast("Optimum", problem.recipe.fit), tolerance=case["l2"] * 1e-4)
    name = f"{name}-{case['share']}-{case['which']}-best.pt"
    best = _kept(home / name, lambda: _optimum(optimum, model, parts))
    return Stage(problem, model, short, whole, parts, best, case)


def _optimum(optimum: Optimum, model: nn.Module, parts: Split) -> nn.Module:
    """To a ten-thousandth: the gradient there, divided by the decay, bounds what is left."""
    return optimum(deepcopy(model), parts.retain)


def _kept(path: Path, make: Callable[[], nn.Module]) -> nn.Module:
    if not path.exists():
        torch.save(make(), path)
    model: nn.Module = torch.load(path, weights_only=False)
    return model.eval()


def _trained(problem: Problem, case: dict[str, Any], short: Path) -> nn.Module:
    """By SGD, recorded at its end."""
    shutil.rmtree(short, ignore_errors=True)
    tape = Recording(short, **SHORT, gradients="fp32")
    return _descended(problem, Part.whole(problem.train), case, tape)


def _record_whole(stage: Stage) -> None:
    """Train again as before, with every step recorded."""
    tape = Recording(stage.whole, keep=STEPS, gradients="fp32")
    again = _descended(stage.problem, Part.whole(stage.problem.train), stage.case, tape)
    if distance(stage.model, again):
        raise SystemExit("the same run twice did not end with the same weights")


def _descended(
    problem: Problem,
    part: Part,
    case: dict[str, Any],
    recording: Recording | None = None,
    steps: int = STEPS,
) -> nn.Module:
    """So many steps of SGD with momentum, at a rate that falls to zero; on a tape if asked."""
    with seeded(case["seed"]):
        model = problem.recipe.build()
        optimizer = SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=case["l2"])
        batches = Batches(part, _size(part), shuffle=True)
        if recording is None:
            return _walked(model, optimizer, batches, steps)
        with Tape(model, optimizer, recording) as tape:
            return _walked(model, optimizer, tape.watch(batches), steps)


def _walked(model: nn.Module, optimizer: SGD, batches: Any, steps: int) -> nn.Module:
    done = 0
    while done < steps:
        for x, y in islice(iter(batches), steps - done):
            optimizer.param_groups[0]["lr"] = LR * (1 - done / STEPS)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            done += 1
    return model.eval()


def _size(part: Part) -> int:
    """As many of a batch as stay: as many steps for fewer samples."""
    return BATCH * len(part) // len(part.source)


def _price(stage: Stage) -> float:
    """Seconds that retraining by SGD takes, by its first steps."""
    _descended(stage.problem, stage.parts.retain, stage.case, steps=10)  # the first are slow
    started = time.process_time()
    _descended(stage.problem, stage.parts.retain, stage.case, steps=PACED)
    return (time.process_time() - started) * STEPS / PACED


def _split(problem: Problem, case: dict[str, Any]) -> Split:
    order = torch.randperm(
        len(problem.train), generator=torch.Generator().manual_seed(100 + case["seed"])
    )
    if case["which"] == "skewed":
        order = _first(order, problem)
    target = Samples(tuple(order[: int(case["share"] * len(order))].tolist()))
    return expunge.split(
        problem.train, Request(target), test=problem.test, validation=problem.validation
    )


def _first(order: Tensor, problem: Problem) -> Tensor:
    labels = problem.task.labels(Batches(Part.whole(problem.train)).take(order))
    inside = torch.isin(labels, torch.tensor(CLASSES))
    return torch.cat([order[inside], order[~inside]])


if __name__ == "__main__":
    main()
