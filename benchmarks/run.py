"""Run one table: `python benchmarks/run.py benchmarks/duck.toml --data DIR`.

Originals and references are trained once and kept, rows are run in random order and kept, so a
run that was killed goes on where it stopped. Rows that the cache keeps are not run again, nor those
that results/TABLE.json holds, unless results go to another folder. After a change that they should
show, delete them in both, or take another folder and a fresh EXPUNGE_CACHE. `--quick` takes every
cell's small stand-in.
A file of experiments (evidence.toml) is run in the same way, piece by piece.
"""

import argparse
import os
from functools import partial
from pathlib import Path

import evidence
import pages
import rows
import table
import training
from finding import Stage
from training import WORKERS

from expunge.errors import ExpungeError
from expunge.keeping import keep_freed
from expunge.problems.archives import cache_folder

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Train what is missing, run every row that has not been run, and write the results."""
    told = _told()
    keep_freed()
    try:
        (_experiments if evidence.plans(told.table) else _table)(told)
    except ExpungeError as why:
        raise SystemExit(str(why)) from None
    except PermissionError as why:
        raise SystemExit(
            f"{why.filename} cannot be written: {why.strerror}\n"
            f"Hint: set EXPUNGE_CACHE, or --out, to a folder that you may write to."
        ) from None


def _table(told: argparse.Namespace) -> None:
    """Cells, rows and seeds; a stage of it, where another process asks for one."""
    found = table.read(
        told.table, quick=told.quick, seeds=told.seeds, only=told.only, device=told.device
    )
    if not found.cells:
        raise SystemExit(f"no cell or row of {told.table} is named like {told.only!r}")
    part = told.quick or told.seeds or told.only
    if told.stage in ("all", "page") and part and told.out == RESULTS:
        raise SystemExit("a part of a table is not the table: name another folder with --out")
    cache = cache_folder()
    kept = cache / "rows"
    if told.out == RESULTS:  # elsewhere only what this machine keeps is not run again
        rows.recall(RESULTS / f"{found.name}.json", kept)
    match told.stage:
        case "train":
            training.work(found, told.data, cache, partial(rows.complete, results=kept))
        case "rows":
            rows.work(found, told.data, cache, kept, workers=1 if told.device else WORKERS)
        case stage:
            if stage == "all":
                training.check_data(found, told.data, partial(rows.complete, results=kept))
            for each in ("train", "rows") if stage == "all" else ():
                training.spread([*_again(told), "--stage", each], 1 if told.device else WORKERS)
            pages.write(found, [*rows.found(found, kept)], told.out, quick=told.quick)


def _experiments(told: argparse.Namespace) -> None:
    """Experiments are about the evidence, not about methods: no cells, no rows, no seeds."""
    if told.device:
        raise SystemExit("experiments are run on the processor: leave --device out")
    if told.quick and told.out == RESULTS:
        raise SystemExit("a quick run is not the real one: name another folder with --out")
    if told.seeds:
        raise SystemExit("experiments have the seeds that their file says: leave --seeds out")
    plan, cache = evidence.read(told.table, quick=told.quick), cache_folder()
    if not evidence.named(plan, told.only):
        raise SystemExit(f"no experiment of {told.table} is named like {told.only!r}")
    if told.out == RESULTS:
        evidence.recall(RESULTS / f"{plan.name}.json", cache)
    if told.stage != "page":
        evidence.work(plan, Stage(cache, told.data), told.only)
    evidence.write(plan, cache, told.out, quick=told.quick)


def _told() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=_table_of)
    parser.add_argument("--data", type=Path, default=os.environ.get("EXPUNGE_DATA"))
    parser.add_argument("--seeds", type=_several, help="at most so many seeds a cell")
    parser.add_argument("--quick", action="store_true", help="small stand-ins, one seed")
    parser.add_argument(
        "--only",
        default="",
        help='experiments, cells or rows ("CELL: ROW") that are called like this',
    )
    parser.add_argument(
        "--device", default="", help="cuda: CIFAR-10 in full width there, in results of their own"
    )
    parser.add_argument("--out", type=_place, default=RESULTS, help="where the results are written")
    parser.add_argument("--stage", choices=("train", "rows", "page", "all"), default="all")
    return parser.parse_args()


def _table_of(told: str) -> Path:
    """A file that is there."""
    if not Path(told).is_file():
        known = ", ".join(sorted(path.name for path in Path(__file__).parent.glob("*.toml")))
        raise argparse.ArgumentTypeError(f"{told} is no file; in benchmarks/ there are {known}")
    return Path(told)


def _several(told: str) -> int:
    """One or more."""
    if not told.isdecimal() or int(told) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {told}")
    return int(told)


def _place(told: str) -> Path:
    """One folder has one name, however it is called."""
    if Path(told).exists() and not Path(told).is_dir():
        raise argparse.ArgumentTypeError(f"{told} is a file; results need a folder")
    return Path(told).resolve()


def _again(told: argparse.Namespace) -> list[str]:
    """The same arguments for another process."""
    named = {
        "--data": told.data,
        "--seeds": told.seeds,
        "--only": told.only,
        "--device": told.device,
        "--out": told.out,
    }
    pairs = [(name, str(value)) for name, value in named.items() if value]
    quick = ["--quick"] if told.quick else []
    return [str(told.table), *(part for pair in pairs for part in pair), *quick]


if __name__ == "__main__":
    main()
