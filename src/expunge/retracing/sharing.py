"""Share the pushes of a window among processes: each asks a part of every batch's smaller side.

Sums of gradients add up, so it does not matter who found which; up to rounding, the result is that
of one process. Every process retraces the path for itself, which costs reading the gradients.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch
from jaxtyping import Float
from torch import Tensor
from torch.multiprocessing import get_all_start_methods, get_context

from expunge.errors import BadSetting, Diverged
from expunge.observing import device_of
from expunge.retracing.path import Passed, Window, retrace
from expunge.retracing.propagating import Road

Vector = Float[Tensor, " k"]


@contextmanager
def shared(road: Road, window: Window, workers: int) -> Iterator[Iterator[Vector | None]]:
    """Mean gradients of the smaller sides, step by step; None where nobody needs to be asked."""
    if "fork" not in get_all_start_methods() or device_of(road.model).type != "cpu":
        raise BadSetting(
            f"workers={workers} needs a model on the CPU, and a system that can fork",
            hint="leave workers=1 here.",
        )
    crew = [_hired(road, window, (place, workers)) for place in range(workers)]
    try:
        yield _gathered(road, window, [out for _, out in crew])
    finally:
        for process, out in crew:
            process.terminate()
            process.join()
            out.close()


def _hired(road: Road, window: Window, share: tuple[int, int]) -> tuple[BaseProcess, Connection]:
    context = get_context("fork")
    out, into = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(
        target=_work, args=(road, window, share, into), daemon=True
    )
    with warnings.catch_warnings():
        # Python warns of threads at a fork; a worker uses none of those that torch had started.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    into.close()  # so that a worker that ends early is noticed
    return process, out


def _gathered(road: Road, window: Window, pipes: Sequence[Connection]) -> Iterator[Vector | None]:
    for step in window.inside:
        side = road.smaller(torch.cat(step.ids))
        chunks = side.tensor_split(len(pipes))
        sums = [_received(pipe) for pipe, chunk in zip(pipes, chunks, strict=True) if len(chunk)]
        road.tally["gradients"] += len(side)
        yield torch.stack(sums).sum(0) / len(side) if sums else None


def _received(pipe: Connection) -> Vector:
    try:
        return torch.from_numpy(pipe.recv())
    except EOFError as why:
        raise Diverged(
            "a worker ended before its work was done",
            hint="read what it printed, or use workers=1.",
        ) from why


def _work(road: Road, window: Window, share: tuple[int, int], into: Connection) -> None:
    torch.set_num_threads(1)
    place, workers = share
    for passed in _inside(road, window):
        chunk = road.smaller(passed.ids).tensor_split(workers)[place]
        if len(chunk):
            into.send((len(chunk) * road.slope(chunk, passed.before.place)).numpy())
    into.close()


def _inside(road: Road, window: Window) -> Iterator[Passed]:
    like = road.ordered.place(road.model)
    return islice(retrace(window, road.ordered, like), window.lead, None)
