"""What a method takes: seconds of the processor, passes over the training set, and memory."""

import ctypes
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from expunge.batching import Batches
from expunge.splitting import Data, Part
from expunge.tasks import Task

T = TypeVar("T")

_LONG = 30.0  # seconds: work of this length hardly feels that its operations are counted
_SHORT, _TIMES = 5.0, 5  # seconds: shorter work is done so many times, for the median
_PEAK = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Taken:
    """What some work took."""

    seconds: float
    flops: int
    megabytes: float | None  # beyond what the process held before; None: this system does not say


class Operations(TorchDispatchMode):
    """Counts multiplications and additions by torch's own formulas.

    Torch's FlopCounterMode also hooks every module, and then no gradient of an input can be taken.
    """

    def __init__(self) -> None:
        """Nothing was done yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take what a call is made of apart, and count what cannot be."""
        named = dict(kwargs or {})
        with self:
            parts = func.decompose(*args, **named)
        if parts is not NotImplemented:
            return parts
        found = func(*args, **named)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.count += formula(*args, **named, out_val=found)
        return found


def metered(work: Callable[[], T], ready: Callable[[], object] = lambda: None) -> tuple[T, Taken]:
    """Do it while operations and memory are watched, and if that took no time, again for its time.

    Work must give the same when it is done again; ``ready`` makes everything what it was before.
    """
    ready()
    held = _Memory()
    with Operations() as counter:
        found, seconds = _once(work)
    megabytes = held.risen()
    if seconds < _LONG:
        ready()
        seconds = clocked(work, ready)[1]
    return found, Taken(seconds, counter.count, megabytes)


def clocked(work: Callable[[], T], ready: Callable[[], object] = lambda: None) -> tuple[T, float]:
    """Do it; seconds of this process's processor, of short work the median of several times."""
    found, seconds = _once(work)
    spent = [seconds]
    while seconds < _SHORT and len(spent) < _TIMES:
        ready()
        spent.append(_once(work)[1])
    return found, median(spent)


class TooLong(Exception):
    """Work was stopped, because nobody would wait for its end."""


@contextmanager
def hurried(seconds: float) -> Iterator[None]:
    """Stop what takes this process longer, and say so by `TooLong`."""

    def stop(*_signal: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def one_pass(model: nn.Module, data: Data, task: Task) -> int:
    """Operations of a forward pass of all training samples."""
    part = Part.whole(data)
    some = part.indices[:64]
    with torch.no_grad(), Operations() as counter:
        task.answer(model, Batches(part).take(some))
    asked: int = counter.count * len(part) // len(some)
    return asked


def _once(work: Callable[[], T]) -> tuple[T, float]:
    started = _clock()
    found = work()
    return found, _clock() - started


def _clock() -> float:
    """Seconds of the processor; where a GPU is at work, those that pass until it has done all."""
    if not _gpu():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


class _Memory:
    """How much more is held at most than now: on the GPU where there is one, else by the process.

    Megabytes; freed ones are given back first, and from here on a new peak is noted.
    """

    def __init__(self) -> None:
        """Look at what is held now."""
        self.before = _on_gpu(torch.cuda.memory_allocated) if _gpu() else _settled()
        if _gpu():
            torch.cuda.reset_peak_memory_stats()

    def risen(self) -> float | None:
        """By how much; None: this system does not say."""
        if self.before is None:
            return None
        peak = _on_gpu(torch.cuda.max_memory_allocated) if _gpu() else _status("VmHWM")
        return None if peak is None else max(0.0, peak - self.before)


def _gpu() -> bool:
    return bool(torch.cuda.is_initialized())


def _on_gpu(of: Callable[[], int]) -> float:
    return of() / 2**20


def _settled() -> float | None:
    if not _PEAK.exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        _PEAK.write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _status(key: str) -> float | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return None
