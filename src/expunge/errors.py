"""Every exception expunge raises on purpose.

ExpungeError
├── RequestDoesNotFit   the request names samples or classes that the data do not hold
├── TargetMismatch      the method cannot remove this kind of thing, or serve this kind of task
├── MissingInput        something that is needed was not given
├── UnknownName         no plug-in, setting, layer or key has this name
├── BadSetting          a setting has a value that it cannot take
├── BatchUnreadable     the task cannot read this batch, or this model's answer
├── ModelDoesNotFit     weights and model do not belong together
├── HistoryDoesNotFit   a history does not fit the model, the data or the way of training
├── BrokenPromise       a method broke a promise that every method makes
├── Diverged            a loss or a weight stopped being finite
├── CannotWrite         a file could not be written; nothing half-written remains
├── CannotRead          a file is missing, of another kind, or not safe to open
├── LedgerTampered      the ledger, or what it seals, was edited, cut short, or is another's
└── WorkerLost          a worker process ended before it had answered
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ExpungeError(Exception):
    """Base class: one sentence of fact, and optionally one sentence of advice."""

    def __init__(self, fact: str, *, hint: str = "") -> None:
        super().__init__(f"{fact}\nHint: {hint}" if hint else fact)
        self.fact = fact
        self.hint = hint


class RequestDoesNotFit(ExpungeError):
    """The request names samples or classes that the data do not hold."""


class TargetMismatch(ExpungeError):
    """The method cannot remove this kind of thing, or serve this kind of task."""


class MissingInput(ExpungeError):
    """Something that is needed was not given."""


class UnknownName(ExpungeError):
    """No plug-in, setting, layer or key has this name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}."
        super().__init__(f"no {kind} is named {name!r}", hint=hint)


class BadSetting(ExpungeError):
    """A setting has a value that it cannot take."""


class BatchUnreadable(ExpungeError):
    """The task cannot read this batch, or this model's answer to it."""


class ModelDoesNotFit(ExpungeError):
    """Weights and model do not belong together."""


class HistoryDoesNotFit(ExpungeError):
    """A history does not fit the model, the data or the way of training."""


class BrokenPromise(ExpungeError):
    """A method broke a promise that every method makes."""


class Diverged(ExpungeError):
    """A loss or a weight stopped being finite."""


class CannotWrite(ExpungeError):
    """A file could not be written; nothing half-written remains."""


class CannotRead(ExpungeError):
    """A file is missing, of another kind, or not safe to open."""


class LedgerTampered(ExpungeError):
    """The ledger, or what it seals, was edited, cut short, or is another project's."""


class WorkerLost(ExpungeError):
    """A worker process ended before it had answered."""
