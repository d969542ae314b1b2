"""Answers that stay what they are as long as the models do: nobody asks for them twice.

Several methods are audited beside the same retrained models. To teach those again what they never
saw, once a method, would take longer than all methods together.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from expunge.errors import CannotRead, CannotWrite
from expunge.storing import digest_tensors, load_tensors, save_tensors

log = logging.getLogger("expunge")

T = TypeVar("T")

Subject = tuple[object, ...]
"""What an answer is about: objects, and digests of what may change inside them."""

Numbers = Mapping[str, Tensor]
"""What is found out about a model, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Notebook:
    """The last answer to each kind of question; it goes when what it is about goes."""

    folder: Path | None = None  # of these very models; None: nothing is written down
    _pages: dict[str, tuple[Subject, Any]] = field(default_factory=dict)

    def once(self, kind: str, about: Subject, find: Callable[[], T]) -> T:
        """The answer about these very objects: found now, or found before."""
        page = self._pages.get(kind)
        if page is None or not _same(page[0], about):
            page = about, find()
            self._pages[kind] = page
        answer: T = page[1]
        return answer

    def written(self, digest: str, find: Callable[[], Numbers]) -> Numbers:
        """Numbers about what the digest tells all of: another process wrote them, or found now.

        What cannot be written is found all the same: the next process finds it again.
        """
        if self.folder is None:
            return find()
        path = self.folder / f"asked-{digest[:20]}.answers.safetensors"  # a purge knows the ending
        kept = _read(path)
        if kept is None:
            kept = find()
            try:
                save_tensors(path, kept, {"answers": digest_tensors(kept)})
            except CannotWrite as why:
                log.warning("a model will be asked again: %s", why)
        return kept


def _read(path: Path) -> Numbers | None:
    """What is written there; None if that must be found again."""
    if not path.exists():
        return None
    try:
        found, meta = load_tensors(path)
    except CannotRead as why:
        log.warning("a model is asked again: %s", why)
        return None
    if meta.get("answers") != digest_tensors(found):
        log.warning("a model is asked again: %s was changed after it was written", path)
        return None
    return found


def _same(one: Subject, other: Subject) -> bool:
    """Objects must be the same ones; texts, and methods of the same object, need only be equal."""
    return len(one) == len(other) and all(
        a is b or ((isinstance(a, str) or hasattr(a, "__self__")) and a == b)
        for a, b in zip(one, other, strict=True)
    )
