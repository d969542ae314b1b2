"""Train what a table needs, once: originals and references, one thread a process.

Small networks gain little from a second thread, so two processes of one thread each train more
than one of two. A model is claimed by a lock that dies with its process: kill a run at any
moment and start it again, and it goes on from the last epoch.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from table import Cell, Table
from torch import nn

import expunge
from expunge.ensembles import References
from expunge.fitting import Fit
from expunge.keeping import LARGE_PAGES
from expunge.problems import Problem
from expunge.recording import Recording
from expunge.storing import digest_json

WORKERS = os.cpu_count() or 1


def spread(arguments: list[str], workers: int = WORKERS) -> None:
    """Let several processes work through a table; returns when all of it is done."""
    command = [sys.executable, str(Path(__file__).with_name("run.py")), *arguments]
    environment = os.environ | LARGE_PAGES | {"OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(command, env=environment) for _ in range(workers)]
    failed = [process for process in running if process.wait() != 0]
    if failed:
        raise SystemExit(f"{len(failed)} of {workers} processes failed; see above")


def check_data(table: Table, data: Path | None, complete: Callable[[Cell, int], bool]) -> None:
    """Open what cells will need, so that what is missing shows before hours of work."""
    for cell in table.cells:
        if not all(complete(cell, seed) for seed in cell.seeds):
            cell.opened(data)


def work(
    table: Table, data: Path | None, cache: Path, complete: Callable[[Cell, int], bool]
) -> None:
    """Train whatever nobody else is training, for cells that are not complete."""
    for cell, seed in _wanted(table):
        if complete(cell, seed):
            continue
        problem = cell.posed(data, seed)
        original = f"{cell.original} {seed}"
        with claimed(cache, original) as mine:
            if mine:
                print("original", original, flush=True)
                trained(cell, seed, problem, cache)
        if cell.attributes:
            continue
        for number in cell.references(seed):
            reference = f"{original} {sorted(cell.forget.items())} {number}"
            with claimed(cache, reference) as mine:
                if mine:
                    print("reference", reference, flush=True)
                    references(cell, seed, data, cache, [number])


def trained(cell: Cell, seed: int, problem: Problem, cache: Path) -> nn.Module:
    """The original; where its run is to be recorded, one that was."""
    folder, fit = history(cell, seed, cache), problem.recipe.fit
    if folder is None or not isinstance(fit, Fit):
        return problem.trained(seed, cache)
    tape = Recording(folder, **cell.record)
    recorded = replace(problem.recipe, fit=replace(fit, record=tape))
    return replace(problem, recipe=recorded).trained(seed, folder.parent)


def history(cell: Cell, seed: int, cache: Path) -> Path | None:
    """Where the history of an original's run is; None: it is not recorded."""
    if not cell.record:
        return None
    run = digest_json([cell.problem, dict(cell.settings), dict(cell.record), seed])
    return cache / "recorded" / run[:20] / "history"


def references(
    cell: Cell, seed: int, data: Path | None, cache: Path, only: Sequence[int] | None = None
) -> References:
    """The models retrained for this cell and seed, or some of them."""
    problem = cell.posed(data, seed)
    parts = cell.split(problem, seed)
    numbers = cell.references(seed) if only is None else only
    return expunge.retrain(parts, problem.recipe, task=problem.task, seeds=numbers, cache=cache)


def _wanted(table: Table) -> Iterator[tuple[Cell, int]]:
    """Every cell's first seed before any cell's second."""
    most = max(len(cell.seeds) for cell in table.cells)
    for place in range(most):
        yield from ((cell, cell.seeds[place]) for cell in table.cells if place < len(cell.seeds))


@contextmanager
def claimed(cache: Path, name: str) -> Iterator[bool]:
    """Whether this process may do it; the claim ends with the block, or with the process."""
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    safe = "".join(c if c.isalnum() else "-" for c in name)
    with (locks / safe).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
