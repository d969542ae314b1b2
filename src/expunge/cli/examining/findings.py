"""What an examination has found so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from expunge.cli.guests import FAULTS, placed
from expunge.errors import ExpungeError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do."""

    where: str
    what: str
    hint: str


@dataclass(slots=True)
class Findings:
    """Problems, and notes about what was not looked at."""

    folder: Path
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, where: str, what: str, hint: str) -> None:
        """Write down a problem, once."""
        problem = Problem(where, what, hint)
        if problem not in self.problems:
            self.problems.append(problem)

    def attempt(self, where: str, make: Callable[[], T]) -> T | None:
        """Try something; a fault in it is written down, and the examination goes on."""
        try:
            return make()
        except ExpungeError as why:
            self.add(where, why.fact, why.hint)
        except FAULTS as why:
            self.add(where, placed(why, self.folder), "correct it, and run `expunge doctor` again.")
        return None
