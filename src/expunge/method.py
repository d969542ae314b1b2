"""What an unlearning method is, and all that it may look at."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

from torch import Tensor, nn

from expunge.accounting import as_json
from expunge.batching import Batches
from expunge.errors import BadSetting, Diverged, ModelDoesNotFit, UnknownName
from expunge.progress import Progress, quiet
from expunge.request import Classes, Samples, Target
from expunge.tasks import Kind, Task

Trace = list[tuple[int, float]]

_NUMBERS: dict[Any, type] = {int: Integral, float: Real}
"""What passes for a number: those of NumPy too, and never a yes or no."""
_MODULES = re.compile(r"[a-z]+\.(?=[A-Za-z])")  # in what a type calls itself


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
        for item in fields(self):
            value, words = getattr(self, item.name), _words(item.type)
            if isinstance(value, str) and words and value not in words:
                raise UnknownName(f"{item.name} of {type(self).__name__}", value, words)
            if not _fits(value, item.type):
                kind = item.type if get_args(item.type) else getattr(item.type, "__name__", "")
                raise BadSetting(
                    f"{item.name} of {type(self).__name__} cannot be {value!r}",
                    hint=f"it is of the type {_MODULES.sub('', str(kind))}.",
                )

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


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type, as far as a plain look tells."""
    home, inside = get_origin(kind), get_args(kind)
    if home is Literal:
        return value in inside
    if home in (Union, UnionType):
        return any(_fits(value, part) for part in inside)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    if home is Callable:
        return callable(value)
    if home is tuple:
        return isinstance(value, (tuple, list)) and _all_fit(value, inside)
    return not isinstance(kind, type) or home is not None or isinstance(value, kind)


def _all_fit(values: Sequence[Any], kinds: Sequence[Any]) -> bool:
    each = [kinds[0]] * len(values) if Ellipsis in kinds else kinds
    return len(each) == len(values) and all(map(_fits, values, each))


def _words(kind: Any) -> list[str]:
    """The words that a setting of this type knows; none where it takes any text."""
    if get_origin(kind) is Literal:
        return [word for word in get_args(kind) if isinstance(word, str)]
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    free = any(part is str for part in parts)
    return [] if free else [word for part in parts for word in _words(part)]
