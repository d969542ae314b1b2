"""The small protocol by which long work reports.

A progress is any callable ``(step, done, total)``; ``total`` is 0 while it is unknown. The
library never draws: it tells, and whoever called may show it.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Hears how far a step is."""

    def __call__(self, step: str, done: int, total: int, /) -> None: ...


def quiet(step: str, done: int, total: int, /) -> None:
    """Hear, and say nothing."""
