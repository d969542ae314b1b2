"""The page of the convex benchmark: what stands in results/convex.md."""

from collections.abc import Iterator
from statistics import mean
from typing import Any

import torch
from table import grid

from expunge.algebra.statistics import mean_interval

_ROWS = (
    "mini", "window and tail", "window alone", "one Newton step", "DeltaGrad", "Amnesiac",
    "fine-tuning", "retraining by SGD",
)  # fmt: skip
_COLUMNS = ("distance", "certificate", "seconds", "time", "stored", "gradients")
_HEAD = """\
# Mini-Unlearning on logistic regression

MNIST, 55,000 pictures, mean cross-entropy + l2/2 · |w|², double precision. The original was
trained by 5,000 steps of SGD (batch 2,048, momentum .99, rate .03 falling to zero); Mini reads the
last 50 of them, DeltaGrad and Amnesiac all. Distances are to the optimum without the forget set, as
a share of what doing nothing has: 100 % is doing nothing. *Skewed* takes threes and eights first.
Values are means over seeds with their 95 % t-interval, or with one seed the value. *Seconds* are
those of the processor on one thread; *time* is their share of what retraining by that SGD takes,
by some hundred of its steps. *Gradients* are of single samples, products with their curvature
included. One Newton step is a window of one step, with a tail.
"""


def page(kept: dict[str, Any]) -> str:
    """All cases, a table for each decay, way of choosing and share."""
    parts = [_HEAD, f"Measured on {kept['machine']}; one thread.\n", _certified(kept["cases"])]
    every = {(case["l2"], case["which"]) for case in kept["cases"]}
    for l2, which in sorted(every):
        parts.append(f"## l2 = {l2:g}, {which}\n")
        parts.extend(_sections(kept["cases"], l2, which))
    return "\n".join(parts)


def spoken(case: dict[str, Any]) -> str:
    """A case on one line."""
    rows = ", ".join(
        f"{name} {row['distance'] / case['nothing']:.3%} in {row['seconds']:.1f} s"
        for name, row in case["rows"].items()
    )
    head = f"l2 {case['l2']:g}, {case['share']:.0%} {case['which']}, seed {case['seed']}"
    return f"{head}: {rows}; retraining {case['retraining_seconds']:.1f} s"


def _certified(cases: list[dict[str, Any]]) -> str:
    every = [row for case in cases for row in case["rows"].values()]
    runs = [row for row in every if len(row.get("certificate", ())) > 1]
    below = sum(row["certificate"][-1] < row["distance"] for row in runs)
    return f"In {below} of {len(runs)} runs with a certificate was it below the true distance.\n"


def _sections(cases: list[dict[str, Any]], l2: float, which: str) -> Iterator[str]:
    mine = [case for case in cases if (case["l2"], case["which"]) == (l2, which)]
    for share in sorted({case["share"] for case in mine}):
        some = [case for case in mine if case["share"] == share and case["rows"]]
        head = [f"{share:.0%} leave", *_COLUMNS]
        body = [line for name in _ROWS if (line := _line(name, some))]
        yield grid(head, body)


def _line(name: str, cases: list[dict[str, Any]]) -> list[str]:
    told = [(case["rows"][name], case) for case in cases if name in case["rows"]]
    if not told:
        return []
    traces = [(row.get("certificate", ()), case) for row, case in told]
    ends = [trace[-1] / case["nothing"] for trace, case in traces if len(trace) > 1]
    return [
        f"{name} ({len(told)} seed{'s' if len(told) > 1 else ''})",
        _share([row["distance"] / case["nothing"] for row, case in told]),
        _share(ends) if ends else "-",
        f"{mean(row['seconds'] for row, _ in told):.1f}",
        f"{mean(row['seconds'] / case['retraining_seconds'] for row, case in told):.0%}",
        f"{mean(row['bytes'] for row, _ in told) / 1e6:.1f} MB" if told[0][0]["bytes"] else "-",
        f"{mean(row['gradients'] + row['products'] for row, _ in told) / 1e6:.2f} M",
    ]


def _share(values: list[float]) -> str:
    centre = f"{100 * mean(values):.3g} %"
    if len(values) < 2:
        return centre
    found = mean_interval(torch.tensor(values, dtype=torch.float64))
    return f"{centre} ± {50 * (found.high - found.low):.2g}"
