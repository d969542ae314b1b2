"""What an experiment on the evidence found, in the form that the page takes."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import mean

import torch

from expunge.algebra.statistics import Interval, mean_interval


@dataclass(frozen=True)
class Stage:
    """Where an experiment finds its data and keeps its models."""

    cache: Path
    data: Path | None  # None: nobody said where data are


@dataclass(frozen=True)
class Asked:
    """Something that was asked beforehand, and what was found."""

    claim: str
    found: str
    met: bool


@dataclass(frozen=True)
class Section:
    """A part of the page: what is read, and what was asked."""

    text: tuple[str, ...]
    asked: tuple[Asked, ...] = ()
    picture: str = ""  # as SVG; empty: there is none


def interval(values: Sequence[float]) -> Interval:
    """Mean over seeds, with Student's interval."""
    return mean_interval(torch.tensor(values, dtype=torch.float64))


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The mean and half the width of its interval; the mean alone where all agree."""
    centre = f"{mean(values):.{digits}f}"
    if len(set(values)) < 2:
        return centre
    found = interval(values)
    half = max(found.high - found.value, found.value - found.low)
    return f"{centre} ± {half:.{digits}f}" if isfinite(half) else centre


def busy() -> float:
    """Seconds that this process was at work, and those that it started and that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)
