"""How a stream of removals went: what the first and the last of them did, and what was lost."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from table import Row, grid

_IN_TABLE = ("retrain for", "nothing moved", "taken out")  # of notes; steps that stood tell it
_EDGE = 10  # the first and last tenth are told of


def section(mine: Sequence[tuple[Row, list[dict[str, Any]]]]) -> Iterable[str]:
    """A table of the rows whose samples left one after another."""
    streams = [(row, run) for row, runs in mine for run in runs if _curve(run, "before loss")]
    if not streams:
        return
    head = [
        "along the stream", "loss of a sample, before and after", "its gradient's length",
        "validation", "retained", "steps that stood", "first that did not", "seconds each",
    ]  # fmt: skip
    yield grid(head, [_line(row, run) for row, run in streams])
    for row, run in streams:
        told = [note for note in run["notes"] if not any(word in note for word in _IN_TABLE)]
        if told:
            yield f"- {row.name}: {'; '.join(told)}.\n"


def _line(row: Row, run: Mapping[str, Any]) -> list[str]:
    each = run["seconds"] / len(_curve(run, "before loss"))
    return [
        row.name,
        _moved(run, "loss"),
        _moved(run, "gradient"),
        _lost(run, "validation accuracy"),
        _lost(run, "retain accuracy"),
        *_stood(run),
        f"{each:.2f}",
    ]


def _moved(run: Mapping[str, Any], name: str) -> str:
    """Means before and after a step, over the first and over the last removals."""
    before, after = _curve(run, f"before {name}"), _curve(run, f"after {name}")
    size = max(1, len(before) // _EDGE)
    first = f"{mean(before[:size]):.3g} to {mean(after[:size]):.3g}"
    last = f"{mean(before[-size:]):.3g} to {mean(after[-size:]):.3g}"
    return f"{first}; at the end {last}" if len(before) > size else first


def _stood(run: Mapping[str, Any]) -> tuple[str, str]:
    """How many steps were kept, and which was the first that was taken back or moved nothing."""
    tried = {place for place, _ in run["traces"]["before loss"]}
    kept = {place for place, _ in run["traces"].get("validation accuracy", ())}
    lost = sorted(tried - kept)
    return f"{len(tried & kept):,} of {len(tried):,}", f"{lost[0]:,}" if lost else "none"


def _lost(run: Mapping[str, Any], name: str) -> str:
    values = _curve(run, name)
    return f"{100 * values[0]:.1f} to {100 * values[-1]:.1f} %" if values else "-"


def _curve(run: Mapping[str, Any], name: str) -> list[float]:
    return [value for _, value in run["traces"].get(name, ())]
