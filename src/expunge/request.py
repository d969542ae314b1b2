"""What must be forgotten, and for whom."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from expunge.errors import RequestDoesNotFit


@dataclass(frozen=True, slots=True)
class Samples:
    """Training samples, by position in the training set."""

    indices: Sequence[int]

    def __post_init__(self) -> None:
        """Write down what can be read only once."""
        if isinstance(self.indices, Iterator):
            object.__setattr__(self, "indices", tuple(self.indices))


@dataclass(frozen=True, slots=True)
class Classes:
    """Every training sample that carries one of these labels."""

    labels: Sequence[int]

    def __post_init__(self) -> None:
        """Write down what can be read only once."""
        if isinstance(self.labels, Iterator):
            object.__setattr__(self, "labels", tuple(self.labels))


@dataclass(frozen=True, slots=True)
class Attribute:
    """A property of the inputs that the features must no longer reveal."""

    name: str


Target = Samples | Classes | Attribute


@dataclass(frozen=True, slots=True)
class Request:
    """One deletion request, as it arrived."""

    target: Target
    _: KW_ONLY  # what else is to go is another request
    subject: str = ""
    id: str = field(default_factory=lambda: uuid4().hex[:12])
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    due: datetime | None = None  # None: nobody set a date
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what names nothing: positions alone do not say of what they are."""
        if not isinstance(self.target, (Samples, Classes, Attribute)):
            raise RequestDoesNotFit(
                f"a request cannot target {self.target!r}",
                hint="name Samples([...]), Classes([...]) or Attribute(...).",
            )


def describe(target: Target) -> dict[str, Any]:
    """The target as JSON."""
    match target:
        case Samples(indices):
            return {"kind": "samples", "indices": [int(i) for i in indices]}
        case Classes(labels):
            return {"kind": "classes", "labels": [int(k) for k in labels]}
        case Attribute(name):
            return {"kind": "attribute", "name": name}


def kind_of(target: Target) -> str:
    """One word for what a target names."""
    return str(describe(target)["kind"])
