"""Run every row of a table and write down what it did, one file a row: a killed run goes on.

Every process asks the original and the references of a cell once. Times are seconds of the
processor, on one thread, so that waiting for a busy neighbour counts for nobody.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from contest import Ring
from machine import MACHINE
from staging import staged
from table import Cell, Row, Table, device_name
from telling import Left
from training import claimed
from trying import Solo

from expunge.errors import Diverged, ModelDoesNotFit
from expunge.metric import Measurement
from expunge.storing import digest_json, read_json, write_json

_PLACE = f"{MACHINE}, torch {torch.__version__}"


def work(table: Table, data: Path | None, cache: Path, results: Path, *, workers: int = 1) -> None:
    """Run whatever row nobody else is running, in random order."""
    places = [(cell, seed) for cell in table.cells for seed in cell.seeds]
    random.Random().shuffle(places)  # noqa: S311 - an order, no secret
    places.sort(key=lambda place: place[0].seeds.index(place[1]))  # every cell once, then again
    left = Left(partial(_open, table, results), workers)
    for cell, seed in places:
        todo = [row for row in cell.rows if not kept(results, cell, seed, row).exists()]
        random.Random().shuffle(todo)  # noqa: S311
        place: Solo | Ring | None = None
        for row in todo:
            path = kept(results, cell, seed, row)
            with claimed(cache, f"row {path.stem}") as mine:
                if not mine or path.exists():
                    continue
                place = place or _placed(table, cell, seed, data, cache)
                if isinstance(place, Ring):
                    place = replace(place, stage=place.stage.priced())
                body = _tried(place, cell, seed, row) | {"key": path.stem}
                write_json(path, "row", body)
                if isinstance(place, Ring):
                    place.clear(row, seed)
                left.tell(f"{cell.name}, seed {seed}: {row.name}")


def _placed(table: Table, cell: Cell, seed: int, data: Path | None, cache: Path) -> Solo | Ring:
    """Where the rows of a cell are tried."""
    stage = staged(cell, seed, data, cache)
    return Solo.on(stage, cell) if table.cap is None else Ring.on(stage, cell, table.cap, cache)


def _open(table: Table, results: Path) -> int:
    """How many rows nobody has run."""
    every = ((c, s, row) for c in table.cells for s in c.seeds for row in c.rows)
    return sum(not kept(results, c, s, row).exists() for c, s, row in every)


def kept(results: Path, cell: Cell, seed: int, row: Row) -> Path:
    """Where a row's result is: named by all that it depends on but the code and a table's cap.

    After a change of these the old row must be deleted.
    """
    known = [
        cell.name,
        [dict(each) for each in (cell.settings, cell.forget, cell.record, cell.look)],
        [row.method, dict(row.settings), row.effort],
        seed,
        cell.device,
    ]
    return results / f"{digest_json(known)[:20]}.json"


def recall(page: Path, results: Path) -> None:
    """Take up rows that an earlier run wrote to a page's JSON, perhaps on another machine."""
    told = json.loads(page.read_text()) if page.exists() else {"rows": []}
    for body in told["rows"]:
        path = results / f"{body.get('key', '')}.json"
        if "key" in body and not path.exists():
            write_json(path, "row", body)


def complete(cell: Cell, seed: int, results: Path) -> bool:
    """Whether every row of a cell has been run with this seed."""
    return all(kept(results, cell, seed, row).exists() for row in cell.rows)


def found(table: Table, results: Path) -> Iterator[tuple[Cell, Row, list[dict[str, Any]]]]:
    """What every row of a table found, seed by seed."""
    for cell in table.cells:
        for row in cell.rows:
            paths = [kept(results, cell, seed, row) for seed in cell.seeds]
            yield cell, row, [read_json(path, "row") for path in paths if path.exists()]


def _tried(place: Solo | Ring, cell: Cell, seed: int, row: Row) -> dict[str, Any]:
    """A row that fails says why; the others go on."""
    told = {"cell": cell.name, "row": row.name, "seed": seed}
    try:
        found = place.tried(row, seed)
    except (Diverged, ModelDoesNotFit) as why:
        return told | {"failed": why.fact}
    found["settings"].pop("history", None)  # a folder of this machine
    found["measurements"] = {name: _told(m) for name, m in found["measurements"].items()}
    return told | found | _circumstances(cell.device)


def _circumstances(device: str) -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in ("expunge", "torch")},
        "threads": torch.get_num_threads(),
        "machine": _PLACE if not device else f"{device_name(device)}, {_PLACE}",
    }


def _told(m: Measurement) -> dict[str, Any]:
    return {
        "value": m.value,
        "interval": None if m.interval is None else list(m.interval),
        "original": None if m.original is None else m.original.value,
        "references": list(m.target),
        "n": m.n,
        "note": m.note,
        "power": m.control is not None and m.control.outside,
    }
