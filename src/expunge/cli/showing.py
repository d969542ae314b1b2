"""What the shell prints: JSON or tables on stdout; progress and faults on stderr."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from expunge.errors import ExpungeError
from expunge.progress import Progress, quiet

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from rich.table import Table

_WIDE = 120  # columns in a pipe, where nobody can say how wide the paper is


def say(text: str = "", *, colour: str | None = None) -> None:
    """Print one line as it is; a path is never broken, and only a terminal sees the colour."""
    typer.secho(text, fg=colour)


def emit(body: Any) -> None:
    """Print JSON, and nothing else, on stdout."""
    typer.echo(json.dumps(body, indent=1, allow_nan=False))


def fault(why: ExpungeError, *, as_json: bool) -> None:
    """Tell what went wrong: two lines on stderr, or an object on stdout."""
    name = type(why).__name__
    notes = getattr(why, "__notes__", [])
    if as_json:
        emit({"error": name, "fact": why.fact, "hint": why.hint, "notes": notes})
        return
    typer.secho(f"{name}: ", err=True, nl=False, fg="red", bold=True)
    typer.echo(why.fact, err=True)
    if why.hint:
        typer.echo(f"Hint: {why.hint}", err=True)
    for note in notes:
        typer.echo(note, err=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table whose first column is words and whose others may be numbers."""
    from rich import box  # noqa: PLC0415 - only where a table is shown
    from rich.table import Table  # noqa: PLC0415

    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(columns):
        numbers = position > 0 and all(_is_number(row[position]) for row in rows)
        shown.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*map(_plain, row))
    draw(shown)


def draw(shown: "Table") -> None:
    """Print something that rich can draw."""
    from rich.console import Console  # noqa: PLC0415 - only where a table is shown

    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False).print(shown)


@contextmanager
def progressing() -> Iterator[Progress]:
    """Lend a progress that draws bars on stderr; outside a terminal, one that draws nothing."""
    if not sys.stderr.isatty():
        yield quiet
        return
    from rich import progress as rich  # noqa: PLC0415 - only where a bar is shown
    from rich.console import Console  # noqa: PLC0415

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Drawn(bars)


class _Drawn:
    """A progress with one bar a step."""

    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: str, done: int, total: int, /) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=None)
        self._bars.update(self._tasks[step], completed=done, total=total or None)


def _is_number(text: str) -> bool:
    return not text or text[0] in "+-.0123456789\N{MINUS SIGN}"


def _plain(text: str) -> str:
    """A text in which rich finds no markup."""
    return text.replace("[", r"\[")
