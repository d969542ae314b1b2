"""Time a little real work, to know how long much of it will take.

The first batches of a process are slower than all that follow: memory is fetched, kernels are
chosen, a compiler is imported. They are run and not counted.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from expunge.fitting import Fit, untaped
from expunge.progress import quiet
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.splitting import Part, Split
from expunge.unlearning import warm

BUDGET = 2.0
"""Seconds that are spent on timing one kind of work, where it can be cut that small."""

_WARM = 3  # batches that are not counted
_LEAST = 32  # samples that a training of unknown kind is tried on first
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class Pace:
    """How long work on so many samples takes: something at the start, and something each."""

    start: float
    each: float

    def seconds(self, samples: int) -> float:
        """How long it will take on so many samples."""
        return self.start + self.each * samples


def training(recipe: Recipe, part: Part, budget: float = BUDGET) -> Pace:
    """The pace of a recipe on samples of this part.

    Of our own loop a few batches tell, after a warm-up; a loop of somebody else's is run to its end
    on few samples, and then on more, until the difference can be seen.
    """
    recipe, fit = untaped(recipe), recipe.fit
    if isinstance(fit, Fit):
        return _of_batches(recipe, fit, part, budget)
    return paced(lambda some: _trained(recipe, some), part, budget)


def paced(work: Callable[[Part], object], part: Part, budget: float = BUDGET) -> Pace:
    """The pace of any work on samples of a part: from two sizes, by a straight line."""
    few = min(_LEAST, len(part))
    short = _timed(work, some(part, few))
    if short < budget:
        short = _timed(work, some(part, few))  # the first was a warm-up
    many, long = few, short
    while many < len(part):
        few, short = many, long
        many = min(few * _GROWTH, len(part))
        long = _timed(work, some(part, many))
        if long * _GROWTH > 2 * budget:
            break
    return _through(few, short, many, long)


def some(part: Part, size: int) -> Part:
    """So many samples of a part, evenly spread over it, so that every class has its share."""
    if size >= len(part):
        return part
    chosen = torch.linspace(0, len(part) - 1, size).round().long()
    return Part(part.source, part.indices[chosen])


def smaller(split: Split, share: float, least: int = 24) -> Split:
    """The same split with a share of its samples; no part loses more than it can."""

    def cut(part: Part) -> Part:
        return some(part, max(round(share * len(part)), min(least, len(part))))

    return replace(
        split, forget=cut(split.forget), retain=cut(split.retain), test=cut(split.test),
        validation=None if split.validation is None else cut(split.validation),
    )  # fmt: skip


def clocked(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    warm()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Lend torch so many threads, and give its own number back."""
    own = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(own)


def _of_batches(recipe: Recipe, fit: Fit, part: Part, budget: float) -> Pace:
    once = replace(fit, epochs=1, checkpoint=None, progress=quiet)
    quick = replace(recipe, fit=once)

    def spent(batches: int) -> float:
        size = min(len(part), batches * fit.batch)
        return _timed(lambda chosen: _trained(quick, chosen), some(part, size)) / size

    each = spent(_WARM)  # a warm-up
    each = spent(_WARM)
    wanted = round(budget / max(each * fit.batch, 1e-6))
    if wanted > _WARM:
        each = spent(min(wanted, -(-len(part) // fit.batch)))
    return Pace(0.0, each * fit.epochs)


def _trained(recipe: Recipe, part: Part) -> None:
    with seeded(0), torch.enable_grad():
        recipe.train(part)


def _timed(work: Callable[[Part], object], part: Part) -> float:
    return clocked(lambda: work(part))


def _through(few: int, short: float, many: int, long: float) -> Pace:
    """The line through two points; time runs neither backwards nor before the start."""
    if many == few:
        return Pace(0.0, long / max(1, many))
    each = max(0.0, (long - short) / (many - few))
    start = min(long, max(0.0, short - each * few))
    return Pace(start, (long - start) / many)
