"""What an unlearning method is, and all that it may look at."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from expunge.accounting import as_json
from expunge.batching import Batches
from expunge.errors import Diverged, ModelDoesNotFit
from expunge.progress import Progress, quiet
from expunge.refusing import refuse_misfits
from expunge.request import Classes, Samples, Target
from expunge.tasks import Kind, Task

Trace = list[tuple[int, float]]


@dataclass(slots=True)
class Report:
    """What a method says while it works: notes for people, traces for charts, its progress."""

    progress: Progress = quiet
    total: int = 0  # steps in all, where the method knows
    notes: list[str] = field(default_factory=list)
    traces: dict[str, Trace] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Tell the reader of the outcome something."""
        self.notes.append(text)

    def settled(self, values: Mapping[str, object]) -> None:
        """Tell the reader what was used where a setting was left to the method."""
        told = (f"{k} = {v:g}" if isinstance(v, float) else f"{k} = {v}" for k, v in values.items())
        if values:
            self.note(f"used where nothing was set: {', '.join(told)}")

    def trace(self, name: str, step: int, value: float) -> None:
        """Add a point to a curve."""
        self.traces.setdefault(name, []).append((step, value))

    def step(self, loss: Tensor) -> None:
        """Count one optimizer step; a loss that is not finite ends the run and says where."""
        count, value = len(self.traces.get("loss", ())) + 1, loss.item()
        if not isfinite(value):
            raise Diverged(
                f"the loss is {value} at step {count}; the original model is untouched",
                hint="use a smaller learning rate, or fewer steps.",
            )
        self.trace("loss", count, value)
        self.progress("unlearn", count, self.total)


def learning(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that may change; without any, gradients can change nothing."""
    found = [p for p in model.parameters() if p.requires_grad]
    if not found:
        raise ModelDoesNotFit(
            "the model has no parameter that may learn",
            hint="set requires_grad on the layers that may change.",
        )
    return found


@dataclass(frozen=True, slots=True)
class Case:
    """All that a method may look at. The test set is not among it."""

    targets: tuple[Target, ...]
    forget: Batches
    retain: Batches
    validation: Batches | None  # None: nobody set data aside
    task: Task
    report: Report = field(default_factory=Report)


@dataclass(frozen=True)
class Method(ABC):
    """A way to forget. Fields are settings."""

    handles: ClassVar[tuple[type[Target], ...]] = (Samples, Classes)
    tasks: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel", "regression")
    reshapes: ClassVar[bool] = False  # True: parameters may change their names or shapes
    half: ClassVar[bool] = False  # True: its passes bear bf16, where that saves time

    def __post_init__(self) -> None:
        """Refuse a word that a setting does not know, and a value of another kind."""
        refuse_misfits(self)

    @abstractmethod
    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        """Return a model without the forget set. ``model`` is a private copy in eval mode."""

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "Method":
        """An instance for the contract suite; override it where the defaults are not enough."""
        del folder, model, case
        return cls()

    @property
    def name(self) -> str:
        """What the command line calls it: its file, or the address of a method from elsewhere."""
        home, file = type(self).__module__.rpartition(".")[::2]
        return (
            file
            if home == "expunge.methods"
            else f"{type(self).__module__}:{type(self).__qualname__}"
        )

    def describe(self) -> dict[str, Any]:
        """The settings as JSON."""
        return {item.name: as_json(getattr(self, item.name)) for item in fields(self)}
