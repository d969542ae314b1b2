"""One table of a benchmark: its cells, read from a TOML file."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import hardness
import torch
from torch import nn

import expunge
from expunge import Attribute, Classes, Request, Samples
from expunge.batching import Batches
from expunge.problems import Problem
from expunge.problems.archives import cache_folder
from expunge.splitting import Part, Split


@dataclass(frozen=True)
class Row:
    """One method with its settings, under the name that the table shows."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    effort: str = ""  # the setting of which there is less where it would take too long


@dataclass(frozen=True)
class Cell:
    """One problem and one request: what every row of the table is tried on."""

    name: str
    problem: str
    settings: Mapping[str, Any]
    forget: Mapping[str, Any]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    asked: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)  # of the original's run; empty: nothing
    look: Mapping[str, Any] = field(default_factory=dict)  # how closely is looked
    device: str = ""  # that models are built on; empty: the processor

    def posed(self, data: Path | None, seed: int) -> Problem:
        """The problem, with its data read; a hard forget set may change those that train."""
        found = self.opened(data)
        if self.device:
            there = partial(_there, build=found.recipe.build, device=self.device)
            found = replace(found, recipe=replace(found.recipe, build=there))
        if "hard" not in self.forget:
            return found
        return hardness.changed(self.forget["hard"], found, self.forget["count"], seed)

    def opened(self, data: Path | None) -> Problem:
        """The problem as its archive has it."""
        return _posed(self.problem, tuple(self.settings.items()), data)

    def split(self, problem: Problem, seed: int) -> Split:
        """What leaves: attributes, classes, or samples drawn by seed: a share, or so many."""
        requests = [Request(Attribute(name)) for name in self.attributes]
        requests = requests or [Request(self._target(problem, seed))]
        return expunge.split(
            problem.train, *requests, test=problem.test, validation=problem.validation
        )

    def references(self, seed: int) -> list[int]:
        """The seeds of retrained models: the original's own, or those of as many as are asked."""
        count = self.look.get("references", 0)
        return [1000 + 100 * seed + k for k in range(count)] if count else [seed]

    @property
    def original(self) -> str:
        """What its original is known by, in words: cells that ask for other samples share it."""
        changing = self.forget.get("hard") in hardness.CHANGES
        changes = sorted(self.forget.items()) if changing else ""
        return f"{self.problem} {sorted(self.settings.items())} {changes}"

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that leave; none, if somebody leaves."""
        return tuple(self.forget.get("attributes", ()))

    def _target(self, problem: Problem, seed: int) -> Classes | Samples:
        if "classes" in self.forget:
            return Classes(tuple(self.forget["classes"]))
        if "hard" in self.forget:
            kind, count = self.forget["hard"], self.forget["count"]
            some = hardness.leaving(kind, problem, count, seed, cache_folder())
            return Samples(tuple(some.tolist()))
        size = len(problem.train)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        if "of_class" in self.forget:
            labels = problem.task.labels(Batches(Part.whole(problem.train)).take(order))
            order = order[labels == self.forget["of_class"]]
        count = self.forget.get("count") or int(size * self.forget["share"])
        return Samples(tuple(order[:count].tolist()))


@dataclass(frozen=True)
class Table:
    """A title, what it is about, and its cells."""

    name: str
    title: str
    about: str
    cells: tuple[Cell, ...]
    columns: tuple[str, ...] = ()  # headings of the page, where not all are wanted
    cap: float | None = None  # of retraining's time, in a contest of methods; None: it is none
    file: str = ""  # of its name

    def again(self, cell: Cell) -> str:
        """How to run a cell once more."""
        where = f" --device {cell.device}" if cell.device else ""
        bundled = "" if cell.problem in _BUNDLED else " --data DIR"
        only = cell.name.removesuffix(_FULL).replace(_FULL, _SMALL)
        return (f'Again: `python benchmarks/run.py benchmarks/{self.file}{bundled} '
                f'--only "{only}"{where} --out FOLDER`; one row alone: '
                f'`--only "{only}: {cell.rows[0].name}"`\n')  # fmt: skip


_BUNDLED = ("digits", "coloured_digits")
_SMALL, _FULL = ", ResNet-18 of width 16", ", ResNet-18 of full width"


@cache
def _posed(name: str, settings: tuple[tuple[str, Any], ...], data: Path | None) -> Problem:
    make = getattr(import_module(f"expunge.problems.{name}"), name)
    where = {} if name in _BUNDLED else {"data": data}
    found: Problem = make(**where, **dict(settings))
    return found


def _there(build: Callable[[], nn.Module], device: str) -> nn.Module:
    return build().to(device)


def read(
    path: Path, *, quick: bool = False, seeds: int | None = None, only: str = "", device: str = ""
) -> Table:
    """Read a table; ``quick`` takes each cell's smaller stand-in, and one seed.

    ``only`` leaves the cell or the row ("CELL: ROW") of exactly this name, or else who holds it.
    On a device of its own, problems are as large as they are published, and others are left out.
    """
    body = tomllib.loads(path.read_text(encoding="utf-8"))
    each = [
        _cell(cell, body["rows"], quick=quick, seeds=1 if quick else seeds)
        for cell in body["cell"]
        if not quick or "quick" in cell
    ]
    cells = _named(each, only)
    if device:
        cells = tuple(_large(cell, device) for cell in cells if cell.problem in _LARGE)
    columns = tuple(body.get("columns", ()))
    name = "-".join([path.stem, *device_name(device).lower().replace(":", " ").split()])
    cap = body.get("cap")
    return Table(name, body["title"], body["about"], cells, columns, cap, path.name)


def _named(cells: Sequence[Cell], only: str) -> tuple[Cell, ...]:
    names = {name for cell in cells for row in cell.rows for name in _names(cell, row)}
    exactly = only in names
    chosen = [
        replace(cell, rows=tuple(row for row in cell.rows if _is(cell, row, only, exactly=exactly)))
        for cell in cells
    ]
    return tuple(cell for cell in chosen if cell.rows)


def _names(cell: Cell, row: Row) -> tuple[str, str]:
    return cell.name, f"{cell.name}: {row.name}"


def _is(cell: Cell, row: Row, only: str, *, exactly: bool) -> bool:
    names = _names(cell, row)
    return only in names if exactly else only in names[1]


def _cell(
    cell: Mapping[str, Any], rows: Mapping[str, Any], *, quick: bool, seeds: int | None
) -> Cell:
    cell = {**cell, **(cell["quick"] if quick else {})}
    chosen = cell.get("rows", list(rows))
    return Cell(
        name=cell["name"],
        problem=cell["problem"],
        settings=cell.get("settings", {}),
        forget=cell["forget"],
        seeds=tuple(cell["seeds"][:seeds]),
        rows=tuple(_row(name, rows[name]) for name in chosen),
        asked=cell.get("asked", ""),
        record=cell.get("record", {}),
        look=cell.get("look", {}),
    )


def device_name(device: str) -> str:
    """What its maker calls it; nothing, where it is the processor."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _large(cell: Cell, device: str) -> Cell:
    name = cell.name.replace(_SMALL, _FULL)
    name = name if _FULL in name else name + _FULL
    settings = {**cell.settings, **_LARGE[cell.problem]}
    return replace(cell, name=name, settings=settings, device=device)


_LARGE = {"cifar10": {"width": 64}}


def _row(name: str, body: Mapping[str, Any]) -> Row:
    settings = {key: value for key, value in body.items() if key not in ("method", "effort")}
    return Row(name, body.get("method", name), settings, body.get("effort", ""))


def grid(head: Sequence[str], body: Sequence[Sequence[str]], words: int = 1) -> str:
    """A table in Markdown: columns of words first, then numbers to the right."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
