"""What caches and runs hold of forgotten samples, and how it goes.

What tells whose they are goes last, of each folder and of all: a purge that was interrupted finds
the rest by it when it is done again.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from expunge.cli.runs import MEMBERS, REHEARSAL, REQUEST, abandoned, read_request, without
from expunge.scoring import SCORES
from expunge.shelving import purge, told
from expunge.storing import forget_file

_ANYBODY = (REHEARSAL, MEMBERS)
"""Canaries may be anybody; and who left in one run is missing in those that went on from it."""


class Purged(NamedTuple):
    """The files that are gone, and the requests that list fewer samples now."""

    removed: list[Path]
    rewritten: list[Path]


def purged_request(runs: Path, folder: Path, cache: Path) -> Purged:
    """Remove what is held of the samples of a request, everywhere; its own folder comes last."""
    asked = read_request(folder)
    swept = _swept(*abandoned(runs), *runs.glob(f".{folder.name}.*.partial"))
    positions, train = {*asked["positions"]}, asked["training data"]
    if not positions:  # an earlier purge has taken them, perhaps not to its end
        return _together(swept, Purged(_emptied(folder), []))
    others = [_taken(each, positions) for each in _alike(runs, train) if each != folder]
    return _together(swept, *others, _cached(positions, train, cache), _taken(folder, positions))


def purged_samples(runs: Path, positions: set[int], train: str, cache: Path) -> Purged:
    """Remove what is held of samples of a training set, whether or not a request tells of them."""
    swept = _swept(*abandoned(runs))
    found = [_taken(each, positions) for each in _alike(runs, train)]
    return _together(swept, *found, _cached(positions, train, cache))


def unclaimed(runs: Path, cache: Path) -> Iterator[tuple[Path, str, list[int]]]:
    """The shelves of a cache that list samples of which no run tells: their training set, and who.

    Models were compared or judged there that no run left; or a run was killed, or is at work.
    """
    asked = [read_request(path.parent) for path in sorted(runs.glob(f"*/{REQUEST}"))]
    for about in sorted(cache.glob("*/about.json")):
        shelf = told(about)
        known = {i for each in asked if each["training data"] == shelf["train"]
                 for i in each["positions"]}  # fmt: skip
        left = sorted({*shelf["forget"]} - known)
        if left:
            yield about.parent, shelf["train"], left


def _swept(*left: Path) -> Purged:
    """Remove what killed runs left."""
    for each in left:
        shutil.rmtree(each, ignore_errors=True)
    return Purged([*left], [])


def _cached(positions: set[int], train: str, cache: Path) -> Purged:
    return Purged(purge(torch.tensor(sorted(positions)), train, cache), [])


def _alike(runs: Path, train: str) -> list[Path]:
    """The folders of all runs on this training set."""
    found = [path.parent for path in sorted(runs.glob(f"*/{REQUEST}"))]
    return [each for each in found if read_request(each)["training data"] == train]


def _taken(folder: Path, positions: set[int]) -> Purged:
    """Take samples out of a run: first what is said of them, then what lists them."""
    if not positions & {*read_request(folder)["positions"]}:
        return Purged(_removed(*(folder / name for name in _ANYBODY)), [])
    removed = _emptied(folder)
    without(folder, positions)
    return Purged(removed, [folder / REQUEST])


def _emptied(folder: Path) -> list[Path]:
    """Remove all that a run says of single samples, and files that somebody wrote half of."""
    return _removed(
        folder / SCORES, *(folder / name for name in _ANYBODY), *folder.glob(".*.partial")
    )


def _removed(*paths: Path) -> list[Path]:
    return [path for path in paths if forget_file(path)]


def _together(*found: Purged) -> Purged:
    return Purged([p for each in found for p in each.removed],
                  [p for each in found for p in each.rewritten])  # fmt: skip
