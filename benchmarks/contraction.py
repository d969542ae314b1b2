"""What the contraction does, in numbers: convex runs of which every step is known.

A biased share of the samples leaves ridge and logistic regression by the last k steps of gradient
descent: 1 to 50 % of full batches, 30 % of mini-batches, with a constant rate, with momentum 0.9,
and with a rate that falls as a cosine. Numbers are distances to the same run without them; in
parentheses, a first calculation in NumPy. Its data were others: rates and orders must agree.

`python benchmarks/contraction.py` writes results/contraction.json and results/contraction.md.
"""

import argparse
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product, zip_longest
from math import cos, inf, log, pi
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from table import grid
from torch import Tensor

from expunge.algebra import bounds
from expunge.algebra import contraction as c
from expunge.algebra.curvature import Product, conjugate_gradients, explicit
from expunge.algebra.lbfgs import Memory

D, L2, LR, MOST, SHARES = 30, 0.02, 0.4, 200, (0.01, 0.1, 0.3, 0.5)
Row = dict[str, Any]
FORMS = {"constant": (0.0, False), "momentum": (0.9, False), "cosine": (0.0, True)}
WAYS = {
    "ridge": ("bound", "replay", "Hessian", "scalar", "none", "with a tail"),
    "logistic": ("replay", "Hessian", "midpoint"),
    "batches": ("replay", "from the end", "midpoint", "with a tail", "DeltaGrad", "none"),
}
FIRST = {  # the first calculation: of doing nothing, and in the order of these ways
    ("ridge", 0.01, 80): "- - 1.4e-7 1.4e-7", ("ridge", 0.1, 80): "- - 5.4e-7 5.4e-7",
    ("ridge", 0.3, 80): "- - 6.6e-7 6.6e-7",
    ("ridge", 0.5, 5): ".238 1.2e-1 6.6e-2 6.6e-2 1.2e-1 2.6e-1 3e-15",
    ("ridge", 0.5, 20): ".238 1.5e-2 4.8e-3 4.8e-3 1.3e-1 1.5 5e-15",
    ("ridge", 0.5, 80): ".238 4.1e-6 8.7e-7 8.7e-7 1.3e-1 6.8 5e-15",
    ("ridge", 0.5, 200): ".238 3.0e-13 5e-14 5e-14 1.3e-1 17 5e-15",
    ("logistic", 0.01, 80): "- 4e-16 8.6e-6 1.3e-8", ("logistic", 0.1, 80): "- 4e-16 8.9e-5 3.5e-7",
    ("logistic", 0.3, 80): "- 4e-16 2.9e-4 2.2e-6", ("logistic", 0.5, 80): "- 4e-16 3.9e-4 3.4e-6",
    ("batches", "constant", 30): ".125 1.2e-2 1.3e-2 1.2e-2 1.2e-3 1.2e-2",
    ("batches", "constant", 100): ".125 9.7e-5 1.0e-4 9.7e-5 8.5e-6 9.1e-3",
    ("batches", "momentum", 100): ".125 5.3e-4 6.5e-4 5.3e-4 2.1e-4 1.5e-2",
    ("batches", "cosine", 30): ".125 1.16e-1 1.16e-1 1.16e-1 2.8e-3 1.16e-1",
    ("batches", "cosine", 100): ".125 5.9e-2 5.9e-2 5.9e-2 2.0e-3 5.9e-2",
}  # fmt: skip


class Lesson(NamedTuple):
    """A sentence about one column over another, and where the quotient must lie for it to hold."""

    said: str
    kind: str
    way: str
    other: str  # the divisor; empty: one
    windows: tuple[int, ...]
    low: float
    high: float = inf
    cases: Sequence[Any] = (*SHARES, *FORMS)

    def told(self, rows: Sequence[Row]) -> str:
        """The sentence with what was found, and whether it holds."""
        asked = {*product([self.kind], self.cases, self.windows)}
        some = [row for row in rows if (row["kind"], row["case"], row["k"]) in asked]
        found = [row[self.way] / row.get(self.other, 1) for row in some]
        holds = self.low <= min(found) and max(found) <= self.high
        span = f"{min(found):.3g} to {max(found):.3g}"
        return f"- {'Holds' if holds else '**Does not hold**'}: {self.said.format(span)}."


LESSONS = (
    Lesson("errors on ridge fall at {} times their rate", "ridge", "slope", "", (80,), 0.95, 1.05),
    Lesson("they are {} of their bound", "ridge", "replay", "bound", (5, 20, 80), 0, 1),
    Lesson("the recursion errs {} times as far", "ridge", "Hessian", "replay", (5, 80), 0.99, 1.01),
    Lesson("five steps without curvature end {} times as far off as doing nothing",
           "ridge", "none", "nothing", (5,), 1),
    Lesson("a scalar for curvature keeps {} of it", "ridge", "scalar", "nothing", (200,), 0.01, 1),
    Lesson("curvature half-way between both runs errs {} times less than that of the original",
           "logistic", "Hessian", "midpoint", (80,), 10),
    Lesson("one solve for the tail divides the error of 30 steps by {}",
           "batches", "midpoint", "with a tail", (30,), 5, inf, ("constant", "cosine")),
    Lesson("with momentum, of 100 steps, by {}",
           "batches", "midpoint", "with a tail", (100,), 2, inf, ("momentum",)),
    Lesson("DeltaGrad stalls: after 100 steps it errs {} times as far as replay",
           "batches", "DeltaGrad", "replay", (100,), 10, inf, ("constant", "momentum")),
    Lesson("from the end of training on, the same steps err {} times as far as replay",
           "batches", "from the end", "replay", (100,), 0.5, 2, ("constant", "cosine")),
    Lesson("with momentum: {}", "batches", "from the end", "replay", (100,), 0, 2, ("momentum",)),
)  # fmt: skip


class Problem(NamedTuple):
    """Rows and answers, of ridge or of logistic regression."""

    x: Tensor
    y: Tensor
    ridge: bool

    @classmethod
    def made(cls, kind: str, seed: int, n: int) -> "Problem":
        """Normal rows; answers bend with the first number, so that no line fits them all."""
        ridge, generator = kind == "ridge", torch.Generator().manual_seed(seed)
        x, w, noise = (
            torch.randn(size, generator=generator, dtype=torch.double)
            for size in ((n, D), (D,), (n,))
        )
        if ridge:  # some directions contract more slowly than others
            x *= torch.logspace(0, log(0.4), D, base=torch.e, dtype=torch.double)
        y = x @ w / D**0.5 + (x[:, 0].square() - 1) / 4 + noise * (0.5 if ridge else 1.5)
        return cls(x, y if ridge else (y > 0).double(), ridge)

    def biased(self, seed: int, share: float) -> Tensor:
        """A mask of the forgotten: those with a large first number are likelier among them."""
        noise = torch.randn(len(self.x), generator=torch.Generator().manual_seed(100 + seed))
        order = (self.x[:, 0] + 2 * noise).argsort(descending=True)
        return torch.isin(torch.arange(len(order)), order[: int(share * len(order))])

    def slope(self, ids: Tensor, w: Tensor) -> Tensor:
        """The mean gradient, without decay."""
        x = self.x[ids]
        said = x @ w if self.ridge else (x @ w).sigmoid()
        return x.T @ (said - self.y[ids]) / len(ids)

    def bend(self, ids: Tensor, w: Tensor) -> Product:
        """The product with the mean curvature, without decay."""
        x = self.x[ids]
        said = (x @ w).sigmoid()
        height = torch.ones_like(said) if self.ridge else said * (1 - said)
        return lambda v: x.T @ (height * (x @ v)) / len(ids)


@dataclass(frozen=True, eq=False)
class Run:
    """Gradient descent with and without the forgotten, and what its last steps can mend."""

    problem: Problem
    gone: Tensor
    batches: Sequence[Tensor]
    paces: Sequence[c.Pace]

    @classmethod
    def full(cls, problem: Problem, gone: Tensor) -> "Run":
        """All samples in every step, none of which can overshoot."""
        most = float(torch.linalg.eigvalsh(problem.x.T @ problem.x / len(gone))[-1])
        pace = c.Pace(1 / ((1.0 if problem.ridge else 0.25) * most + L2), decay=L2)
        return cls(problem, gone, [torch.arange(len(gone))] * 600, [pace] * 600)

    @classmethod
    def mini(cls, problem: Problem, gone: Tensor, seed: int, form: str) -> "Run":
        """Thirty epochs in batches of a tenth."""
        (momentum, cosine), n = FORMS[form], len(gone)
        generator = torch.Generator().manual_seed(200 + seed)
        orders = (torch.randperm(n, generator=generator) for _ in range(30))
        batches = [ids for order in orders for ids in order.split(n // 10)]
        rates = (LR * (1 + cos(pi * t / 300)) / 2 if cosine else LR for t in range(300))
        return cls(problem, gone, batches, [c.Pace(lr, momentum, decay=L2) for lr in rates])

    def apart(self, k: int = 0) -> float:
        """How far both runs are apart, k steps before their end."""
        return float((self._path[-1 - k].place - self._other[-1 - k].place).norm())

    def replayed(self, k: int, start: c.Motion | None = None) -> float:
        """The error of the last k steps without the forgotten, taken from where they began."""
        first = len(self.batches) - k
        end = self._walk(start or self._path[first], first, without=True)[-1]
        return float((end.place - self._other[-1].place).norm())

    def carried(self, k: int, rule: c.Rule, *, tail: bool = False, bare: bool = False) -> float:
        """The error of a difference that is carried through the last k steps."""
        beats, place = self._beats[-k:], self._beats[-k].before.place
        begun = self._tail(place) if tail else torch.zeros_like(place)
        delta = c.Motion(begun, torch.zeros_like(place))
        for found in c.propagate(c.without_curvature(beats) if bare else beats, rule, delta):
            delta = found.motion
        return float((self._path[-1].place + delta.place - self._other[-1].place).norm())

    def window(self, k: int) -> Row:
        """The errors of every way through the last k steps."""
        path, flat = c.along_path, c.along_path(lambda _, delta: torch.zeros_like(delta))
        return {
            "nothing": self.apart(),
            "replay": self.replayed(k),
            "from the end": self.replayed(k, self._path[-1]),
            "midpoint": self.carried(k, path(c.midpoint)),
            "Hessian": self.carried(k, path(c.at_original)),
            "scalar": self.carried(k, path(c.uniform())),
            "none": self.carried(k, flat, bare=True),
            "with a tail": self.carried(k, path(c.midpoint), tail=True),
            "DeltaGrad": self.carried(k, c.from_gradients(Memory(every=5, most=2))),
        }

    def rate(self) -> float:
        """What a step leaves of a difference in the flattest direction, at the retained end."""
        end, kept = self._other[-1].place, self._stays(torch.arange(len(self.gone)))
        heights = torch.linalg.eigvalsh(explicit(self.problem.bend(kept, end), D, like=end))
        return bounds.rate(float(self.paces[0].lr), curvature=float(heights[0]) + L2)

    @cached_property
    def _path(self) -> list[c.Motion]:
        return self._walk(c.Motion(torch.zeros(D, dtype=torch.double)))

    @cached_property
    def _other(self) -> list[c.Motion]:
        return self._walk(self._path[0], without=True)

    @cached_property
    def _beats(self) -> list[c.Beat]:
        return [self._beat(t) for t in range(len(self.batches) - MOST, len(self.batches))]

    def _stays(self, ids: Tensor) -> Tensor:
        return ids[~self.gone[ids]]

    def _walk(self, start: c.Motion, first: int = 0, *, without: bool = False) -> list[c.Motion]:
        found = [start]
        for ids, pace in zip(self.batches[first:], self.paces[first:], strict=True):
            kept, before = self._stays(ids) if without else ids, found[-1]
            found.append(c.descend(before, self.problem.slope(kept, before.place), pace))
        return found

    def _beat(self, t: int) -> c.Beat:
        ids, problem, before = self.batches[t], self.problem, self._path[t]
        kept, left = self._stays(ids), ids[self.gone[ids]]
        gradient, stays = problem.slope(ids, before.place), problem.slope(kept, before.place)
        return c.Beat(
            before, self._path[t + 1], self.paces[t], gradient, len(left) / len(ids),
            lambda: gradient - stays, lambda w: problem.slope(kept, w),
            lambda w: problem.slope(left, w), lambda w: problem.bend(kept, w),
        )  # fmt: skip

    def _tail(self, w: Tensor) -> Tensor:
        everybody, slope = torch.arange(len(self.gone)), self.problem.slope
        push = slope(everybody, w) - slope(self._stays(everybody), w)
        bend = self.problem.bend(self._stays(everybody), w)
        return conjugate_gradients(bend, push, damping=L2, tolerance=1e-14).x


def _measured(seed: int) -> Iterator[Row]:
    for kind, share in product(("ridge", "logistic"), SHARES):
        yield from _full(kind, share, seed)
    for form in FORMS:
        problem = Problem.made("logistic", seed, 4000)
        run = Run.mini(problem, problem.biased(seed, 0.3), seed, form)
        for k in (30, 100):
            yield {"kind": "batches", "case": form, "k": k, "seed": seed} | run.window(k)


def _full(kind: str, share: float, seed: int) -> Iterator[Row]:
    problem = Problem.made(kind, seed, 2000)
    run = Run.full(problem, problem.biased(seed, share))
    rate = run.rate()
    head: Row = {"kind": kind, "case": share, "seed": seed, "rate": rate}
    if kind == "ridge":
        head["slope"] = log(run.replayed(150) / run.replayed(90)) / (150 - 90) / log(rate)
    for k in (5, 20, 80, MOST) if kind == "ridge" else (80,):
        yield head | {"k": k, "bound": bounds.left([rate] * k, run.apart(k))} | run.window(k)


def _page(rows: Sequence[Row], about: str) -> Iterator[str]:
    yield f"# What the contraction does\n\n{(__doc__ or '').split(chr(10) * 2)[1]} {about}\n"
    for kind, ways in WAYS.items():
        cases = dict.fromkeys((kind, r["case"], r["k"]) for r in rows if r["kind"] == kind)
        body = [_line(case, rows) for case in cases]
        yield f"## {kind.title()}\n\n{grid(['case', 'k', 'nothing', *ways], body)}"
    yield "## What follows\n"
    yield from (lesson.told(rows) for lesson in LESSONS)


def _line(case: tuple[str, Any, int], rows: Sequence[Row]) -> list[str]:
    some = [row for row in rows if (row["kind"], row["case"], row["k"]) == case]
    own = [f"{median(r[way] for r in some):.1e}" for way in ("nothing", *WAYS[case[0]])]
    theirs = ("" if told == "-" else f" ({told})" for told in FIRST.get(case, "").split())
    return [*map(str, case[1:]), *map("".join, zip_longest(own, theirs, fillvalue=""))]


def main() -> None:
    """Measure, and write both files."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--seeds", type=int, default=3)
    told.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = told.parse_args()
    torch.set_num_threads(1)
    rows = [row for seed in range(given.seeds) for row in _measured(seed)]
    machine = f"{platform.machine()}, one thread, torch {torch.__version__}"
    text = json.dumps({"machine": machine, "rows": rows}).replace("}, {", "},\n{") + "\n"
    (given.out / "contraction.json").write_text(text)
    page = _page(rows, f"Medians over {given.seeds} seeds, measured on {machine}.")
    (given.out / "contraction.md").write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    main()
