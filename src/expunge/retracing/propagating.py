"""Carry what the forget set did through the recorded steps, without training again.

The path of the original is retraced from its gradients. In every batch the smaller side says what
the forget set pushed, and the retained side how the loss is curved there.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice, repeat
from math import exp, log
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from expunge.algebra.contraction import (
    Apart,
    Beat,
    Motion,
    Rule,
    along_path,
    at_original,
    from_gradients,
    midpoint,
    propagate,
    remembered,
    uniform,
    without_curvature,
)
from expunge.algebra.curvature import Product
from expunge.algebra.lbfgs import Memory
from expunge.method import Case
from expunge.retracing.belonging import check_end, check_gradient
from expunge.retracing.path import Ordered, Passed, Window, retrace
from expunge.stepping import Ground

Vector = Float[Tensor, " k"]
Way = Literal["midpoint", "hessian", "ggn", "lbfgs", "scalar", "delta", "none"]

_PASS = 4096  # samples in one pass
_WARM = 10  # first steps in which DeltaGrad asks for every gradient

_RULES: Mapping[Way, Callable[["Road"], Rule]] = {
    "midpoint": lambda _: along_path(midpoint),
    "hessian": lambda _: along_path(at_original),
    "ggn": lambda _: along_path(midpoint),
    "lbfgs": lambda road: along_path(remembered(Memory(road.every))),
    "scalar": lambda _: along_path(uniform()),
    "delta": lambda road: from_gradients(road.memory or Memory(road.every, _WARM)),
    "none": lambda _: along_path(lambda _, delta: torch.zeros_like(delta)),
}


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """The batches on the original's path, and what can be asked of their two sides."""

    model: nn.Module
    case: Case
    ordered: Ordered
    gone: Bool[Tensor, " n"]  # the forgotten, of all samples
    way: Way
    every: int = 5  # steps from one exact curvature to the next, where it is remembered
    tally: Counter[str] = field(default_factory=Counter)  # sample gradients, and products
    memory: Memory | None = None  # that delta begins with; None: the usual one

    def beat(self, passed: Passed, found: Vector | None = None) -> Beat:
        """One step; ``found`` is the mean gradient of its smaller side, where that is known."""
        leaves, stays = self.sides(passed.ids)
        return Beat(
            passed.before, passed.after, passed.pace, passed.gradient,
            len(leaves) / len(passed.ids) if len(passed.ids) else 1.0,
            partial(self._push, passed, found),
            partial(self.slope, stays), partial(self.slope, leaves), partial(self._product, stays),
        )  # fmt: skip

    def sides(self, ids: Int[Tensor, " b"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " s"]]:
        """Who leaves a batch, and who stays."""
        leaving = self.gone[ids]
        return ids[leaving], ids[~leaving]

    def smaller(self, ids: Int[Tensor, " b"]) -> Int[Tensor, " m"]:
        """Whom to ask for a push: nobody where nobody leaves, or where everybody does."""
        leaves, stays = self.sides(ids)
        return leaves if len(leaves) <= len(stays) else stays

    def slope(self, ids: Int[Tensor, " m"], place: Vector) -> Vector:
        """The mean gradient of samples at a place."""
        self.tally["gradients"] += len(ids)
        self.ordered.put(self.model, place)
        return self.ordered.vector(self._ground(ids).gradient(self.model), place)

    def _push(self, passed: Passed, found: Vector | None) -> Vector:
        leaves, stays = self.sides(passed.ids)
        if not len(leaves):
            return torch.zeros_like(passed.gradient)
        side = self.smaller(passed.ids)
        mean = self.slope(side, passed.before.place) if found is None else found
        if len(leaves) > len(stays):
            return passed.gradient - mean
        return len(leaves) / len(stays) * (mean - passed.gradient)

    def _product(self, ids: Int[Tensor, " s"], place: Vector) -> Product:
        self.tally["products"] += len(ids)
        self.ordered.put(self.model, place)
        return self._ground(ids).product(self.model, self.ordered.block)

    def _ground(self, ids: Int[Tensor, " m"]) -> Ground:
        return Ground(
            self.case.retain, ids.split(_PASS), self.case.task,
            "ggn" if self.way == "ggn" else "hessian", damping=0.0,
        )  # fmt: skip


def carry(
    road: Road,
    window: Window,
    *,
    tail: Callable[[], Vector] | None = None,
    pushes: Iterator[Vector | None] | None = None,
) -> float | None:
    """Leave the model where the window's steps lead without the forget set.

    Args:
        road: The batches, and a model that stands at the original's end.
        window: The steps.
        tail: Finds the difference that was there before the window, at the model as it then was;
            None leaves it out.
        pushes: Mean gradients of the smaller sides that were found elsewhere; None finds them.

    Returns:
        The factor by which all steps together shrank a difference; None if there was none yet.
    """
    end = road.ordered.place(road.model)
    passed = _led(islice(retrace(window, road.ordered, end), window.lead, None), end)
    first = next(passed)
    _compare(road, first)
    start = _begun(road, first, tail)
    told = zip(chain([first], passed), pushes or repeat(None), strict=False)
    seen = (road.beat(*each) for each in told)
    beats = without_curvature(seen) if road.way == "none" else seen
    return _walked(road, window, end, propagate(beats, _RULES[road.way](road), start))


def _led(passed: Iterator[Passed], end: Vector) -> Iterator[Passed]:
    """Hand every step on; refuse a path that does not lead to the model."""
    first = last = next(passed)
    yield first
    for last in passed:
        yield last
    check_end(last.after.place, first.before.place, end)


def _begun(road: Road, first: Passed, tail: Callable[[], Vector] | None) -> Motion:
    """The difference before the window. A model at rest has hardly any velocity to differ in."""
    road.ordered.put(road.model, first.before.place)
    none = torch.zeros_like(first.before.place)
    return Motion(none if tail is None else tail(), None if first.before.velocity is None else none)


def _walked(road: Road, window: Window, end: Vector, steps: Iterator[Apart]) -> float | None:
    report, depth, apart = road.case.report, None, torch.zeros_like(end)
    for done, (step, found) in enumerate(zip(window.inside, steps, strict=True), 1):
        apart = found.motion.place
        if found.factor is not None:
            depth = (depth or 0.0) + log(max(found.factor, 1e-30))
            report.trace("contraction", step.number, found.factor)
        report.trace("displacement", step.number, float(apart.norm()))
        report.progress("unlearn", done, len(window.inside))
    road.ordered.put(road.model, end + apart)
    return None if depth is None else exp(min(depth, 700.0))  # beyond it, no number


def _compare(road: Road, first: Passed) -> None:
    """Compare the task's loss with the one that was trained, at the first step of the window."""
    if len(first.ids):
        computed = road.slope(first.ids, first.before.place)
        check_gradient(first.gradient, computed, step=first.step.number)


def spoken(way: Way, factor: float | None, *, tail: bool) -> str:
    """What the steps did to differences, and how far that can be trusted."""
    if way == "none":
        return "gradients were only added back: after a few steps, worse than doing nothing"
    past = "a tail stands for what came before" if tail else "what came before stays in the model"
    if factor is None:
        return f"there was no difference to contract before the last step; {past}"
    if factor < 1:
        return f"on the way, differences shrank to {factor:.2g} in all steps together; {past}"
    return (
        f"the steps did not contract: on the way, differences grew {factor:.2g} times in all, and "
        f"the result cannot be trusted; use a longer window, or mode=replay"
    )
