"""How fast does `foci` choose, against a loop that tries every candidate in full?

`python benchmarks/foci.py` writes results/foci.json. The loop builds two n by n distance matrices
for every candidate, as the published code does. It runs whole where there are few candidates, and
both must choose the same; where there are many, it is timed on some of them and extrapolated, and
the results say so. Seconds are seconds of the processor, on one thread (`--threads` for more), so
that a busy neighbour counts for nobody.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from expunge.algebra.dependence import foci

N, SOME = 1000, 48


def activations(p: int) -> tuple[Tensor, Tensor]:
    """What the units of a random network say to one image, perturbed, and its loss."""
    torch.manual_seed(0)
    first, second = nn.Linear(784, p - 210), nn.Sequential(nn.ReLU(), nn.Linear(p - 210, 200))
    third = nn.Sequential(nn.ReLU(), nn.Linear(200, 10))
    with torch.no_grad():
        a = first(torch.rand(784) + 0.1 * torch.randn(N, 784))
        b = second(a)
        c = third(b)
        return torch.cat([a, b, c], 1), torch.logsumexp(30 * c, 1) - 30 * c[:, 3]


def mixtures(p: int) -> tuple[Tensor, Tensor]:
    """Noisy mixtures of four hidden causes, so that many features are needed to tell their sum."""
    torch.manual_seed(0)
    causes = torch.randn(N, 4)
    return causes @ torch.randn(4, p) + torch.randn(N, p), causes.sum(1)


def in_full(x: Tensor, y: Tensor, chosen: list[int], some: list[int]) -> list[float]:
    """The score of some candidates beyond those chosen, each from two distance matrices."""
    ranks = (y[:, None] >= y).sum(1).double()
    above = len(y) + 1 - ranks

    def told(columns: list[int]) -> Tensor:
        rows = x[:, columns].double()
        apart = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.minimum(ranks, ranks[apart.fill_diagonal_(torch.inf).argmin(1)]).sum()

    def score(candidate: int) -> float:
        if not chosen:
            found = len(y) * told([candidate]) - above.square().sum()
            return (found / (above * (len(y) - above)).sum()).item()
        before = told(chosen)
        return ((told([*chosen, candidate]) - before) / (ranks.sum() - before)).item()

    return [score(candidate) for candidate in some]


def selected_in_full(x: Tensor, y: Tensor) -> list[int]:
    """FOCI as one would write it down."""
    chosen: list[int] = []
    while len(chosen) < x.shape[1]:
        left = [j for j in range(x.shape[1]) if j not in chosen]
        scores = in_full(x, y, chosen, left)
        if chosen and max(scores) <= 0:
            break
        chosen.append(left[int(np.argmax(scores))])
    return chosen


def steps(
    name: str, data: Callable[[int], tuple[Tensor, Tensor]], p: int, most: int
) -> dict[str, Any]:
    """Time every greedy step of both on one problem."""
    x, y = data(p)
    chosen = list(foci(x, y, max_features=most).selected)
    asked = sorted({1, 2, 3, len(chosen)})
    ours = [_seconds(partial(foci, x, y, max_features=k)) for k in asked]
    rows = []
    for k, before, until, now in zip(asked, [0, *asked], [0.0, *ours], ours, strict=False):
        mine = (now - until) / (k - before)
        theirs = _seconds(partial(in_full, x, y, chosen[: k - 1], list(range(SOME)))) * p / SOME
        rows.append(
            {
                "steps": f"{before + 1} to {k}",
                "seconds_a_step": mine,
                "microseconds_a_candidate": 1e6 * mine / p,
                "loop_seconds_for_the_last": theirs,
                "ratio": theirs / mine,
            }
        )
    return {
        "problem": name,
        "candidates": p,
        "chosen": len(chosen),
        "seconds": ours[-1],
        "loop_extrapolated_from": SOME,
        "steps": rows,
    }


def agreement(p: int) -> dict[str, Any]:
    """Both run whole where there are few candidates."""
    found = {}
    for data in (activations, mixtures):
        x, y = data(p)
        ours, theirs = list(foci(x, y).selected), selected_in_full(x, y)
        found[data.__name__] = {"candidates": p, "chosen": len(ours), "the same": ours == theirs}
    return found


def memory(p: int) -> float:
    """Peak of a fresh process that chooses three features, in gigabytes."""
    command = [sys.executable, __file__, "--only-memory", str(p)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Measure, write, and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only-memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.only_memory:
        foci(*activations(given.only_memory), max_features=3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
        return
    body = {
        "machine": f"{platform.machine()}, {given.threads} threads",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "rows": N,
        "agreement": agreement(240),
        "speed": [
            steps("activations", activations, 1210, 15),
            steps("mixtures", mixtures, 1210, 15),
            steps("activations", activations, 4810, 15),
        ],
        "gigabytes_at_4810": memory(4810),
    }
    text = json.dumps(body, indent=1) + "\n"
    (Path(__file__).parent / "results" / "foci.json").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
