"""The same inputs twice: what is forgotten in one place and kept in another is not forgotten."""

import torch
from jaxtyping import Int
from torch import Tensor

from expunge.batching import is_resident
from expunge.cli.examining.findings import Findings
from expunge.splitting import Data, Part, Split
from expunge.tasks import Task
from expunge.twins import prints

_MOST = 10_000  # samples of a dataset that must be read one by one


def look_for_overlap(train: Data, test: Data, task: Task, found: Findings) -> None:
    """Test samples that are training samples too: an audit would take memory for skill."""
    known = _prints("train", Part.whole(train), task, found)
    seen = _prints("test", Part.whole(test), task, found)
    both = sorted(known.keys() & seen.keys(), key=seen.__getitem__)
    if both:
        found.add(
            "train and test",
            f"{len(both)} inputs are in both; test sample {seen[both[0]]} is "
            f"training sample {known[both[0]]}",
            "take them out of the test set: nobody can say whether a model remembers them.",
        )


def look_for_copies(parts: Split, task: Task, found: Findings) -> None:
    """Samples that must go, and whose exact copies would stay."""
    going = _prints("the forget set", parts.forget, task, found)
    staying = _prints("the retain set", parts.retain, task, found)
    both = sorted(going.keys() & staying.keys(), key=going.__getitem__)
    if both:
        found.add(
            "forget and retain",
            f"{len(both)} inputs that must go are also among those that stay; "
            f"sample {going[both[0]]} is the same as sample {staying[both[0]]}",
            "name the copies too: --samples with all of them.",
        )


def _prints(name: str, part: Part, task: Task, found: Findings) -> dict[bytes, int]:
    """A digest of every sample's inputs, and where the first of them is."""
    seen: dict[bytes, int] = {}
    for position, row in prints(Part(part.source, _looked_at(name, part, found)), task):
        seen.setdefault(row, position)
    return seen


def _looked_at(name: str, part: Part, found: Findings) -> Int[Tensor, " n"]:
    if len(part) <= _MOST or is_resident(part.source):
        return part.indices
    note = f"copies: {_MOST:,} of the {len(part):,} samples of {name} were looked at."
    if note not in found.notes:
        found.notes.append(note)
    return part.indices[torch.linspace(0, len(part) - 1, _MOST).long()]
