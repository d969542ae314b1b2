"""Answers that stay what they are as long as the models do: nobody asks for them twice.

Several methods are audited beside the same retrained models. To teach those again what they never
saw, once a method, would take longer than all methods together.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

Subject = tuple[object, ...]
"""What an answer is about: objects, and digests of what may change inside them."""


@dataclass(frozen=True, slots=True, eq=False)
class Notebook:
    """The last answer to each kind of question; it goes when what it is about goes."""

    _pages: dict[str, tuple[Subject, Any]] = field(default_factory=dict)

    def once(self, kind: str, about: Subject, find: Callable[[], T]) -> T:
        """The answer about these very objects: found now, or found before."""
        page = self._pages.get(kind)
        if page is None or not _same(page[0], about):
            page = about, find()
            self._pages[kind] = page
        answer: T = page[1]
        return answer


def _same(one: Subject, other: Subject) -> bool:
    """Objects must be the same ones; texts, and methods of the same object, need only be equal."""
    return len(one) == len(other) and all(
        a is b or ((isinstance(a, str) or hasattr(a, "__self__")) and a == b)
        for a, b in zip(one, other, strict=True)
    )
