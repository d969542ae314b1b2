"""A model before and after, and how it got there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from expunge.method import Method, Trace
from expunge.splitting import Split
from expunge.storing import digest_json, save_tensors
from expunge.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What `unlearn` returns. ``before`` is the caller's own model, untouched."""

    before: nn.Module
    after: nn.Module
    split: Split
    task: Task
    method: Method | None = None  # None: somebody else unlearned it, and did not say how
    seed: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()
    traces: Mapping[str, Trace] = field(default_factory=dict)

    @classmethod
    def of(cls, before: nn.Module, after: nn.Module, split: Split, *, task: Task) -> "Outcome":
        """An outcome from a pair of models that somebody else made."""
        return cls(before, after, split, task)

    def save(self, path: str | Path) -> None:
        """Write the weights without the forget set, and how they came to be, as safetensors."""
        name = "" if self.method is None else self.method.name
        settings = {} if self.method is None else self.method.describe()
        meta = {
            "method": name,
            "settings": digest_json(settings),
            "requests": ",".join(request.id for request in self.split.requests),
            "seed": str(self.seed),
        }
        save_tensors(path, self.after.state_dict(), meta)
