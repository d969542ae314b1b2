"""Claims about speed: what was asked, what was found, and the page that tells both."""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from machine import MACHINE


@dataclass(frozen=True)
class Row:
    """One claim: what was asked, what was found, and the raw numbers behind it."""

    claim: str
    asked: str
    found: str
    holds: bool
    raw: dict[str, list[float]]


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write(rows: list[Row], folder: Path, *, quick: bool) -> str:
    """Keep the numbers, and a page that a person reads."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    machine = f"{MACHINE}, {torch.get_num_threads()} threads"
    body = {
        "quick": quick,
        "versions": versions,
        "machine": machine,
        "rows": [vars(row) for row in rows],
    }
    folder.mkdir(exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    lines = [
        "# Speed of the frame",
        "",
        (
            f"{machine}; Python {versions['python']}, torch {versions['torch']}; medians of "
            f"interleaved repeats, made by `make bench`"
            f"{' with --quick, so not to be quoted' if quick else ''}."
        ),
        "",
        "| what | asked | found | |",
        "|---|---|---|---|",
        *(f"| {r.claim} | {r.asked} | {r.found} | {'✓' if r.holds else '✗'} |" for r in rows),
    ]
    page = "\n".join(lines) + "\n"
    (folder / "speed.md").write_text(page)
    return page
