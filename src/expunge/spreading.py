"""Spread jobs over processes: one function, many jobs, here or wherever an executor runs them.

A worker is a fresh Python of its own with one thread. The function is sent to it once, then job
after job; so data that all jobs share belong into the function. What is sent must be importable: a
worker does not run the script that started it, so that a script needs no guard.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal, Protocol, runtime_checkable

from expunge.errors import BadSetting, ExpungeError, WorkerLost
from expunge.keeping import LARGE_PAGES, keep_freed

START = 5.0
"""Seconds until a worker has imported what it needs, on a busy machine."""

_UNSENDABLE = (pickle.PicklingError, AttributeError, TypeError, RecursionError)


@runtime_checkable
class Executor(Protocol):
    """Runs a function on jobs, somewhere else; all that goes there or comes back is pickled."""

    def map(self, function: Callable[[Any], Any], jobs: Sequence[Any], /) -> Iterator[Any]:
        """What the function answers to every job, in their order."""


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, with one thread each."""

    count: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2

    def map(self, function: Callable[[Any], Any], jobs: Sequence[Any], /) -> Iterator[Any]:
        """Start the processes, let whoever is idle take the next job, and end them."""
        idle: SimpleQueue[_Worker] = SimpleQueue()

        def answered(job: Any) -> Any:
            worker = idle.get()
            try:
                return worker.ask(job)
            finally:
                idle.put(worker)

        told = pickle.dumps(function)
        with ExitStack() as running, ThreadPoolExecutor(self.count) as threads:
            for _ in range(min(self.count, len(jobs))):
                idle.put(running.enter_context(_started(told)))
            yield from threads.map(answered, jobs)


def sendable(thing: object) -> bool:
    """Whether another process could read this: a script's own functions it cannot import."""
    try:
        return b"__main__" not in pickle.dumps(thing)
    except _UNSENDABLE:
        return False


def spread(
    function: Callable[[Any], Any],
    jobs: Sequence[Any],
    way: Literal["auto", "loop", "workers"] | Executor = "auto",
) -> Iterator[Any]:
    """What the function answers to every job, in their order.

    Args:
        function: What is to be done; data that all jobs share are a part of it.
        jobs: What is different from job to job.
        way: Here, one after another; by worker processes; by an executor; or, with ``auto``, the
            first job here, and the others by workers if that saves more than their start takes.
    """
    if isinstance(way, Executor):
        yield from way.map(function, jobs)
        return
    if way == "workers":
        _check(function)
        yield from Processes().map(function, jobs)
        return
    for done, job in enumerate(jobs, 1):
        started = time.perf_counter()
        yield function(job)
        seconds, left = time.perf_counter() - started, len(jobs) - done
        if way == "auto" and pays(seconds, left) and sendable(function):
            yield from Processes().map(function, jobs[done:])
            return


def pays(seconds: float, left: int) -> bool:
    """Whether workers would be done sooner; a thread that helps now will be missed then."""
    count = min(Processes().count, left)
    return count > 1 and seconds * left * (1 - 1.5 / count) > START


def spread_seconds(count: int, alone: float, slower: Callable[[], float]) -> float:
    """How long `spread` takes by ``auto``.

    Args:
        count: Of jobs.
        alone: Seconds of a job here.
        slower: Seconds of a job of a worker; asked only where workers would be sooner.
    """
    rest = (count - 1) * alone
    if count > 0 and pays(alone, count - 1):
        rest = min(rest, START + (count - 1) * slower() / min(Processes().count, count - 1))
    return alone + rest


def serve() -> None:
    """Answer jobs from standard input until there are no more."""
    keep_freed()
    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints must not lie among the answers
    function = pickle.load(jobs)  # noqa: S301 - from the process that started this one
    with suppress(EOFError):
        while True:
            job = pickle.load(jobs)  # noqa: S301 - as above
            pickle.dump(_tried(function, job), answers)
            answers.flush()


def _tried(function: Callable[[Any], Any], job: Any) -> tuple[bool, Any]:
    """Whether it could be done, and the answer or the fault."""
    try:
        return True, function(job)
    except ExpungeError as why:
        return False, why


def _check(function: object) -> None:
    if not sendable(function):
        raise BadSetting(
            "worker processes cannot import what they are to do: it is not in a module of its own",
            hint="define build, fit and the data's class in a file that is imported, or choose "
            "another way.",
        )


@dataclass(frozen=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]

    def send(self, told: bytes) -> None:
        stdin = self.process.stdin
        if stdin is not None:
            stdin.write(told)
            stdin.flush()

    def ask(self, job: Any) -> Any:
        try:
            self.send(pickle.dumps(job))
            sound, answer = pickle.load(self.process.stdout)  # type: ignore[arg-type]  # noqa: S301
        except (BrokenPipeError, EOFError, pickle.UnpicklingError) as why:
            raise WorkerLost(
                "a worker process ended before it had answered; what it said stands above",
                hint="choose way='loop' to see the fault, or less work at once if memory ran out.",
            ) from why
        if not sound:
            raise answer
        return answer


@contextmanager
def _started(told: bytes) -> Iterator[_Worker]:
    alone = {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path),
    }
    environment = LARGE_PAGES | os.environ | alone
    command = [sys.executable, "-m", "expunge.spreading"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:  # noqa: S603 - our own
        worker = _Worker(process)
        try:
            worker.send(told)
            yield worker
        finally:
            process.kill()


if __name__ == "__main__":
    serve()
