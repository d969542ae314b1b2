"""Train an ensemble: many models of one recipe, each on a part of its own and by a seed of its own.

There are three ways, and all of them make the same models: one after another; as stacks, where one
operation serves many small networks (`expunge.stacking`); in worker processes
(`expunge.spreading`). What is fastest depends on the network and the machine, so a few steps of
what is possible are timed first.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.errors import BadSetting
from expunge.fitting import Fit
from expunge.observing import device_of
from expunge.progress import Progress, quiet
from expunge.recipe import Recipe
from expunge.seeding import seeded
from expunge.splitting import Data, Part
from expunge.spreading import Executor, Processes, sendable, spread
from expunge.stack import NOT_STACKED
from expunge.stacking import stackable, stacked, steps

log = logging.getLogger("expunge")

Way = Literal["auto", "loop", "vmap", "workers"]

SIZES = (4, 16, 64, 256)
"""How many models a stack may have: larger ones are tried for as long as they are faster."""

_FEW = 5  # steps that are timed

_ALIKE = 1e-3  # of its weights: the first of a stack may differ by so much from one model alone


class Fitted(NamedTuple):
    """One model of an ensemble."""

    position: int  # of its part and its seed
    model: nn.Module
    seconds: float  # its share of the time


def fit_many(
    recipe: Recipe,
    parts: Sequence[Part],
    seeds: Sequence[int],
    *,
    way: Way | Executor = "auto",
    progress: Progress = quiet,
) -> Iterator[Fitted]:
    """Train a model on every part, and give each away as soon as it is there.

    Args:
        recipe: How models are made. A history, a checkpoint or a progress of its fit is for one
            model, and left out.
        parts: What each model is trained on; all are parts of one dataset.
        seeds: What each model draws from.
        way: One after another, in stacks, in processes, by an executor of one's own, or, with
            ``auto``, whatever is fastest.
        progress: Hears how many are trained.
    """
    if len(parts) != len(seeds) or any(part.source is not parts[0].source for part in parts):
        raise BadSetting(
            f"an ensemble takes parts of one dataset and a seed for each, not {len(parts)} parts "
            f"and {len(seeds)} seeds, or parts of several datasets",
            hint="join datasets first: expunge.planting.joined.",
        )
    return _fitted(_plain(recipe), parts, seeds, way, progress)


def share(recipe: Recipe, parts: Sequence[Part]) -> float:
    """The share of the time of one model by itself that each takes in the best stack."""
    recipe, fit = _plain(recipe), recipe.fit
    if not isinstance(fit, Fit) or len(parts) < 2 or not stackable(recipe, parts[0]):
        return 1.0
    seconds = _timed(recipe, fit, parts)
    return min(seconds.values()) / seconds[1]


def _fitted(
    recipe: Recipe,
    parts: Sequence[Part],
    seeds: Sequence[int],
    way: Way | Executor,
    progress: Progress,
) -> Iterator[Fitted]:
    if not parts:
        return
    size = _size(recipe, parts, way)
    if way == "workers":
        size = min(size, -(-len(parts) // Processes().count))
    groups = _grouped(recipe, parts, size)
    work = _Work(recipe, parts[0].source)
    jobs = [[(parts[i].indices, seeds[i]) for i in group] for group in groups]
    progress("train", 0, len(parts))
    done = 0
    for group, answers in zip(groups, spread(work, jobs, _place(work, size, way)), strict=True):
        done += len(group)
        progress("train", done, len(parts))
        for position, (model, seconds) in zip(group, answers, strict=True):
            yield Fitted(position, model, seconds)


_Job = list[tuple[Int[Tensor, " _"], int]]
"""Of every model the samples and the seed."""


@dataclass(frozen=True, eq=False)
class _Work:
    """Trains the models of a job, together if there are several."""

    recipe: Recipe
    source: Data

    def __call__(self, job: _Job) -> list[tuple[nn.Module, float]]:
        started, fit = time.perf_counter(), self.recipe.fit
        parts, seeds = [Part(self.source, ids) for ids, _ in job], [seed for _, seed in job]
        if isinstance(fit, Fit) and len(job) > 1:
            models = stacked(self.recipe, fit, parts, seeds)
        else:
            models = [
                _alone(self.recipe, part, seed) for part, seed in zip(parts, seeds, strict=True)
            ]
        seconds = (time.perf_counter() - started) / len(job)
        return [(model, seconds) for model in models]


def _alone(recipe: Recipe, part: Part, seed: int) -> nn.Module:
    with seeded(seed), torch.enable_grad():
        return recipe.train(part)


def _plain(recipe: Recipe) -> Recipe:
    """The recipe without what is for one model alone."""
    if not isinstance(recipe.fit, Fit):
        return recipe
    return replace(recipe, fit=replace(recipe.fit, checkpoint=None, record=None, progress=quiet))


def _size(recipe: Recipe, parts: Sequence[Part], way: Way | Executor) -> int:
    """How many models to train together: as many as takes the least time for each."""
    fit = recipe.fit
    if way == "loop" or len(parts) == 1:
        return 1
    seconds: dict[int, float] = {}
    if isinstance(fit, Fit) and stackable(recipe, parts[0]):
        seconds = _timed(recipe, fit, parts)
        log.info("seconds of some steps a model, by models at once: %s", seconds)
    if way == "vmap":
        seconds.pop(1, None)
        if not seconds:
            raise BadSetting(
                "models of this recipe cannot be trained as a stack",
                hint="that takes the Fit of expunge, data in memory, no buffers, and no chance "
                "within a step, such as dropout; choose another way.",
            )
    return min(seconds, key=lambda size: seconds[size], default=1)


def _timed(recipe: Recipe, fit: Fit, parts: Sequence[Part]) -> dict[int, float]:
    """Seconds that a few steps take, for each of so many models trained at once."""
    length = min(_FEW * fit.batch, *map(len, parts))
    work = _Work(replace(recipe, fit=replace(fit, epochs=1)), parts[0].source)
    jobs = [(part.indices[:length], 0) for part in parts]
    found: dict[int, float] = {}
    alone: Tensor | None = None
    for size in sorted({1, *(min(size, len(parts)) for size in SIZES)}):
        try:
            (some, first), (others, _) = (_clocked(work, jobs[:size]) for _ in range(2))
        except NOT_STACKED as why:
            if size == 1:
                raise
            log.info("models do not stack: %s", why)
            break
        alone = first if alone is None else alone
        if (first - alone).norm() > _ALIKE * alone.norm():
            log.info("models do not stack: in a stack they do not learn what they learn alone")
            break
        smaller = [seconds for stack, seconds in found.items() if stack > 1]
        found[size] = min(some, others) / size
        if smaller and found[size] >= smaller[-1]:  # larger ones would only take more memory
            break
    return found


def _clocked(work: _Work, job: _Job) -> tuple[float, Float[Tensor, " _"]]:
    """How long it took, and the weights of its first model."""
    started = time.perf_counter()
    first, _ = work(job)[0]
    seconds = time.perf_counter() - started
    return seconds, torch.cat([p.detach().flatten() for p in first.parameters()])


def _grouped(recipe: Recipe, parts: Sequence[Part], size: int) -> list[list[int]]:
    """Positions that are trained together: as many as told, with as many steps each."""
    fit = recipe.fit
    if not isinstance(fit, Fit) or size == 1:
        return [[position] for position in range(len(parts))]
    alike: dict[int, list[int]] = {}
    for position, part in enumerate(parts):
        alike.setdefault(steps(fit, part), []).append(position)
    return [some[i : i + size] for some in alike.values() for i in range(0, len(some), size)]


def _place(
    work: _Work, size: int, way: Way | Executor
) -> Literal["auto", "loop", "workers"] | Executor:
    """Whether the jobs are done here or elsewhere, or whether their first will tell."""
    match way:
        case "auto":
            with seeded(0):
                model = work.recipe.build()
            busy = size > 1 and torch.get_num_threads() > 1  # a stack makes use of every thread
            here = busy or device_of(model).type != "cpu" or not sendable(model)
            return "loop" if here else "auto"
        case "loop" | "vmap":
            return "loop"
        case _:
            return way
