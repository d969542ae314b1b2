"""What Mini-Unlearning costs on tables, against how many rows there are and how many leave.

Logistic regression is trained by SGD on the census and on synthetic rows, its last fifty steps are
recorded, and a biased share of the rows is taken out again. Every case has a process of its own:
seconds are those of its processor, on one thread, and memory is the most that it ever held, data
and libraries included. Retraining repeats the epochs of SGD on the rows that stay. Solving finds
their optimum from nothing, by Newton's method, as exactly as Mini certifies that it did. Distances
are to that optimum: of doing nothing, of Mini, at most, and of retraining.

`python benchmarks/costs.py --data DIR` writes results/costs.json, costs.md and costs.svg. Cases
that the first holds are not measured again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import product
from math import ceil, log
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

import torch
from machine import MACHINE
from table import grid
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import TensorDataset

import expunge
from expunge import Classification, Request, Samples
from expunge.algebra.parameters import distance
from expunge.batching import Batches
from expunge.methods.mini import Mini
from expunge.outcome import Outcome
from expunge.problems.adult import adult
from expunge.problems.optimum import Optimum
from expunge.splitting import Part, Split
from expunge.tasks import Task
from expunge.unlearning import seeded, warm

ROWS = (10_000, 100_000, 500_000, 2_000_000)  # of the synthetic tables
SHARES = (0.01, 0.1, 0.3, 0.5)
FEATURES, LARGEST, STEPS, KEEP, LR, L2 = 28, 16_384, 300, 50, 0.5, 1e-3
WHO = {"seconds": "Mini", "retraining": "retraining", "solving": "solving"}

Case = dict[str, Any]


def main() -> None:
    """Measure every case that is not measured yet, then show all of them."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--data", default=os.environ.get("EXPUNGE_DATA"))
    told.add_argument("--seeds", type=int, default=3)
    told.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    told.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    given = told.parse_args()
    if given.case:
        print(json.dumps(given.case | _measured(given.case, given.data)))
        return
    path = given.out / "costs.json"
    given.out.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text())["cases"] if path.exists() else []
    for case in _cases(given.seeds):
        if not any(case.items() <= done.items() for done in kept):
            kept.append(_alone(case, given.data))
            path.write_text(json.dumps({"cases": kept}).replace("}, {", "},\n{") + "\n")
            print(kept[-1], flush=True)
    (given.out / "costs.md").write_text("\n".join(_page(kept)))
    (given.out / "costs.svg").write_text(_drawn(kept))


def _cases(seeds: int) -> Iterator[Case]:
    """Of the census, all rows are taken."""
    for seed, rows, share in product(range(seeds), (*ROWS, 0), SHARES):
        yield {"table": "synthetic" if rows else "census", "n": rows, "share": share, "seed": seed}


def _alone(case: Case, data: str | None) -> Case:
    """Measure in a fresh process, so that memory is this case's."""
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    command += ["--data", data] if data else []
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=alone)
    found: Case = json.loads(told.stdout)
    return found


def _measured(case: Case, data: str | None) -> Case:
    torch.set_num_threads(1)
    warm()
    train, test, task = _tables(case, data)
    parts, splitting = _timed(lambda: _split(train, test, case))
    with tempfile.TemporaryDirectory() as place:
        how = Mini(Path(place) / "history")
        model, training = _timed(lambda: _trained(Part.whole(train), case, Path(how.history)))
        before = _peak()
        outcome, seconds = _timed(lambda: expunge.unlearn(model, parts, how, task=task))
    return {
        "machine": f"{MACHINE}, torch {torch.__version__}", "rows": len(train),
        "splitting": splitting, "training": training, "seconds": seconds, "before": before,
        "megabytes": _peak(), "notes": list(outcome.notes), **_compared(outcome, case),
    }  # fmt: skip


def _compared(outcome: Outcome, case: Case) -> Case:
    """Distances, and what it takes to train again: as before, or to the optimum itself."""
    stays, told = outcome.split.retain, [value for _, value in outcome.traces["certificate"]]
    again, retraining = _timed(lambda: _trained(stays, case))
    solve, best = Optimum(L2, tolerance=told[-1] * L2), _fresh(stays)
    _, solving = _timed(lambda: solve(best, stays))
    return {
        "retraining": retraining, "solving": solving, "polish": len(told) - 1,
        "distance before": distance(outcome.before, best),
        "distance of retraining": distance(again, best),
        "certificate": told[-1], "checked": _certificate(outcome.after, stays),
        "certificate before": told[0], "certificate of retraining": _certificate(again, stays),
    }  # fmt: skip


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.process_time()
    return work(), time.process_time() - started


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _tables(case: Case, data: str | None) -> tuple[Any, Any, Task]:
    if case["table"] == "census":
        problem = adult(data=data, network="logistic")
        return problem.train, problem.test, problem.task
    generator = torch.Generator().manual_seed(case["seed"])
    return _made(case["n"], generator), _made(1000, generator), Classification()


def _made(rows: int, generator: torch.Generator) -> TensorDataset:
    """Normal rows of two classes, which no plane parts: who leaves must matter."""
    x = torch.randn(rows, FEATURES, generator=generator)
    w = torch.linspace(-1, 1, FEATURES) / 3
    chance = (x @ w + (x[:, 0].square() - 1) / 2).sigmoid()
    return TensorDataset(x, (torch.rand(rows, generator=generator) < chance).long())


def _split(train: Any, test: Any, case: Case) -> Split:
    """Rows leave the likelier, the larger their first number is."""
    first = train.tensors[0][:, 0]
    noise = torch.randn(len(first), generator=torch.Generator().manual_seed(100 + case["seed"]))
    order = (first + noise).argsort(descending=True)
    target = Samples(tuple(order[: int(case["share"] * len(order))].tolist()))
    return expunge.split(train, Request(target), test=test)


def _trained(part: Part, case: Case, history: Path | None = None) -> nn.Module:
    """So many epochs as make enough steps of the whole table; on tape where there is a folder."""
    size = min(LARGEST, len(part.source) // 25)
    epochs = ceil(STEPS / ceil(len(part.source) / size))
    with seeded(case["seed"]):
        model, batches = _fresh(part), Batches(part, size, shuffle=True)
        optimizer = SGD(model.parameters(), lr=LR, weight_decay=L2)
        if history is None:
            return _walked(model, optimizer, batches, epochs)
        with expunge.record(model, optimizer, to=history, keep=KEEP, gradients="fp32") as tape:
            return _walked(model, optimizer, tape.watch(batches), epochs)


def _fresh(part: Part) -> nn.Module:
    """From zero: what both classes have in common changes no answer, and hardly decays."""
    model = nn.Linear(part.source[0][0].numel(), 2)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def _walked(model: nn.Module, optimizer: SGD, batches: Any, epochs: int) -> nn.Module:
    for _ in range(epochs):
        for x, y, *_rest in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model.eval()


def _certificate(model: nn.Module, part: Part) -> float:
    """What the library says too, calculated once more in double precision."""
    model = deepcopy(model).double()
    model.zero_grad()
    for x, y, *_rest in Batches(part, 2**16):
        F.cross_entropy(model(x.double()), y, reduction="sum").backward()
    slopes = [p.grad / len(part) + L2 * p for p in model.parameters() if p.grad is not None]
    return float(torch.cat([slope.detach().flatten() for slope in slopes]).norm()) / L2


def _page(cases: Sequence[Case]) -> Iterator[str]:
    yield f"# What Mini-Unlearning costs on tables\n\n{(__doc__ or '').split(chr(10) * 2)[1]}\n"
    machine = "; ".join(sorted({case["machine"] for case in cases}))
    seeds = ", ".join(map(str, sorted({case["seed"] for case in cases})))
    yield f"Medians over the seeds {seeds}, seconds with the least and the most; on {machine}.\n"
    head = ["table", "rows", "leave", *WHO.values(), "steps of polish", "MB", "MB before",
            "distance of nothing", "of Mini", "of retraining"]  # fmt: skip
    yield grid(head, [_line(some) for some in _grouped(cases).values()])
    yield "## What follows\n"
    shares = ", ".join(f"{share:.0%}" for share in SHARES)
    yield f"Most rows are {ROWS[-1]:,}; seconds are told for shares of {shares}.\n"
    yield from (f"- {said}." for said in _lessons(cases))
    yield "\n![Seconds against rows, and against the share that leaves](costs.svg)\n"


def _grouped(cases: Iterable[Case]) -> dict[tuple[Any, ...], list[Case]]:
    """The seeds of every case."""
    found: dict[tuple[Any, ...], list[Case]] = {}
    for case in sorted(cases, key=lambda case: (case["table"], case["rows"], case["share"])):
        found.setdefault((case["table"], case["rows"], case["share"]), []).append(case)
    return found


def _line(cases: Sequence[Case]) -> list[str]:
    forms = {
        "polish": "{:.0f}", "megabytes": "{:.0f}", "before": "{:.0f}",
        "distance before": "{:.2g}", "certificate": "{:.1e}", "distance of retraining": "{:.1e}",
    }  # fmt: skip
    seconds = [_seconds([case[key] for case in cases]) for key in WHO]
    told = [form.format(median(case[key] for case in cases)) for key, form in forms.items()]
    first = cases[0]
    return [first["table"], f"{first['rows']:,}", f"{first['share']:.0%}", *seconds, *told]


def _seconds(every: Sequence[float]) -> str:
    return f"{median(every):.2f} ({min(every):.2f} to {max(every):.2f})"


def _lessons(cases: Sequence[Case]) -> Iterator[str]:
    made = [case for case in cases if case["table"] == "synthetic"]
    large = [case for case in made if case["rows"] == ROWS[-1]]
    for key, who in WHO.items():
        powers = [_power([c for c in made if c["share"] == share], key) for share in SHARES]
        times = [median(c[key] for c in large if c["share"] == share) for share in SHARES]
        told = ", ".join(f"{seconds:.2g}" for seconds in times)
        yield f"{who}: seconds grow as rows to the power of {_span(powers)}; of most rows, {told}"
    for key, other, said in (
        ("seconds", "retraining", "Mini takes {} times as long as retraining"),
        ("seconds", "solving", "Mini takes {} times as long as solving"),
        ("certificate", "distance before", "Mini leaves at most {} of the distance"),
        ("distance of retraining", "distance before", "retraining leaves {} of it"),
        ("checked", "certificate", "calculated once more, certificates are {} times as large"),
    ):
        yield said.format(_span([case[key] / case[other] for case in cases]))
    yield f"of most rows, at most {max(case['megabytes'] for case in large):,.0f} MB are held"


def _span(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"


def _power(cases: Sequence[Case], key: str) -> float:
    points = [(log(case["rows"]), log(case[key])) for case in cases]
    return linear_regression(*zip(*points, strict=True)).slope


def _drawn(cases: Sequence[Case]) -> str:
    """Seconds against rows, and against the share that leaves."""
    import altair as alt  # noqa: PLC0415 - a process that is measured holds nothing of it
    import vl_convert  # noqa: PLC0415

    made = _grouped(case for case in cases if case["table"] == "synthetic")
    points = [
        {"rows": rows, "share": share, "who": who, "seconds": median(c[key] for c in group)}
        for (_, rows, share), group in made.items()
        for key, who in WHO.items()
    ]
    lines = alt.Chart(alt.InlineData(values=points), width=340, height=300).mark_line()
    titles = {"rows": "rows of the table", "share": "share that leaves"}
    ticks = {"rows": ROWS, "share": SHARES}
    dashes = alt.Legend(symbolSize=500)
    y = alt.Y("seconds:Q", title="seconds of the processor", axis=alt.Axis(tickCount=4))
    panels = [
        lines.encode(
            alt.X(f"{x}:Q", title=titles[x], axis=alt.Axis(values=ticks[x])).scale(type="log"),
            y.scale(type="log"),
            alt.Color(f"{by}:O", title=titles[by]).scale(scheme="viridis"),
            alt.StrokeDash("who:N", title=None, sort=[*WHO.values()], legend=dashes),
        )
        for x, by in (("rows", "share"), ("share", "rows"))
    ]
    chart = alt.hconcat(*panels).resolve_scale(color="independent")
    drawn: str = vl_convert.vegalite_to_svg(chart.to_dict())
    return drawn


if __name__ == "__main__":
    main()
