"""How two runs of gradient descent draw together: one with the forget set, one without it.

The original stands at w before a step, a run without the forget set at w + Δ. ḡ is the mean
gradient of the step's batch and ḡᴿ that of its retained samples. The step takes Δ to
Δ - η(CΔ - (ḡ - ḡᴿ)(w)): C, the retained curvature between the two places, contracts what was there
before, and the push (ḡ - ḡᴿ)(w) lies on the original's own path. So the difference descends as each
of the two runs does, momentum and weight decay included, with CΔ less the push for its gradient.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra import bounds
from expunge.algebra.curvature import Product
from expunge.algebra.lbfgs import Memory

Vector = Float[Tensor, " k"]
Scale = float | Vector
"""One number for all parameters, or one for each."""

Slope = Callable[[Vector], Vector]
"""The gradient at a place."""

At = Callable[[Vector], Product]
"""The product with the curvature at a place."""


@dataclass(frozen=True, slots=True, eq=False)
class Pace:
    """How a step of SGD turns a gradient into a move; letters as in ``torch.optim.SGD``."""

    lr: Scale
    momentum: Scale = 0.0
    dampening: Scale = 0.0
    nesterov: Scale = 0.0  # one where the gradient is taken ahead, else zero
    decay: Scale = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """A place and a velocity: those of a run, or the difference between those of two."""

    place: Vector
    velocity: Vector | None = None  # None: before the first step of a run

    def less(self, other: "Motion") -> "Motion":
        """This motion, seen from another."""
        if self.velocity is None or other.velocity is None:
            own = self.velocity if other.velocity is None else -other.velocity
            return Motion(self.place - other.place, own)
        return Motion(self.place - other.place, self.velocity - other.velocity)


def descend(motion: Motion, gradient: Vector, pace: Pace) -> Motion:
    """One step of SGD."""
    pull = gradient + pace.decay * motion.place
    velocity = pull
    if motion.velocity is not None:
        velocity = pace.momentum * motion.velocity + (1 - pace.dampening) * pull
    straight = 1 - pace.nesterov * (1 - pace.momentum)
    move = straight * velocity + pace.nesterov * pull
    return Motion(motion.place - pace.lr * move, velocity)


@dataclass(frozen=True, slots=True, eq=False)
class Beat:
    """One step of the original, and what its batch says elsewhere."""

    before: Motion
    after: Motion
    pace: Pace
    gradient: Vector  # ḡ where the original stood, as it was recorded
    gone: float  # share of the batch that is forgotten
    push: Callable[[], Vector]  # ḡ - ḡᴿ where the original stood
    retained: Slope
    forgotten: Slope
    product: At  # of the retained curvature


Bend = Callable[[Beat, Vector], Vector]
"""CΔ: what a difference changes in the retained gradient."""

Rule = Callable[[Beat, Vector], tuple[Vector, Vector]]
"""CΔ and the push, which a difference meets in a step."""


def along_path(bend: Bend) -> Rule:
    """The recursion itself: every push is taken on the path of the original."""

    def rule(beat: Beat, delta: Vector) -> tuple[Vector, Vector]:
        return (bend(beat, delta) if bool(delta.any()) else delta), beat.push()

    return rule


def midpoint(beat: Beat, delta: Vector) -> Vector:
    """Curvature half-way between both runs, where the error of second order cancels."""
    return beat.product(beat.before.place + delta / 2)(delta)


def at_original(beat: Beat, delta: Vector) -> Vector:
    """Curvature where the original stood."""
    return beat.product(beat.before.place)(delta)


def uniform(height: float | None = None) -> Bend:
    """The same curvature in every direction: it contracts, and keeps a bias.

    None measures it along the first difference.
    """
    known = [] if height is None else [height]

    def bend(beat: Beat, delta: Vector) -> Vector:
        if not known:
            known.append(float(delta @ midpoint(beat, delta) / (delta @ delta)))
        return known[0] * delta

    return bend


def remembered(memory: Memory) -> Bend:
    """Curvature as earlier differences have shown it; taken anew at the midpoint now and then."""

    def bend(beat: Beat, delta: Vector) -> Vector:
        if not memory.due():
            return memory.product(delta)
        found = midpoint(beat, delta)
        memory.learn(delta, found)
        return found

    return bend


def from_gradients(memory: Memory) -> Rule:
    """No curvature is asked for: what leaves is followed at the new place, as DeltaGrad does.

    The gradient of the whole batch there is its recorded one and what earlier differences tell of
    the change; every now and then it is really taken.
    """

    def rule(beat: Beat, delta: Vector) -> tuple[Vector, Vector]:
        there = beat.before.place + delta
        leaves = beat.forgotten(there) if beat.gone else torch.zeros_like(there)
        if memory.due():
            stays = beat.retained(there)
            change = (1 - beat.gone) * stays + beat.gone * leaves - beat.gradient
            memory.learn(delta, change)
            return change, change - (stays - beat.gradient)
        change = memory.product(delta)
        return change, beat.gone / (1 - beat.gone) * (leaves - beat.gradient - change)

    return rule


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """How far both runs are apart after a step, and how the step shrank what was there before."""

    motion: Motion
    factor: float | None  # None: nothing was there before, or the step was left out


def propagate(beats: Iterable[Beat], rule: Rule, start: Motion) -> Iterator[Apart]:
    """Carry a difference through the steps of the original.

    A batch that is forgotten as a whole is a step that the other run does not make.
    """
    apart = start
    for beat in beats:
        if beat.gone == 1:
            apart = apart.less(beat.after.less(beat.before))
            yield Apart(apart, None)
            continue
        curved, push = rule(beat, apart.place)
        factor = _shrunk(apart.place, curved, beat.pace)
        apart = descend(apart, curved - push, beat.pace)
        yield Apart(apart, factor)


def without_curvature(beats: Iterable[Beat]) -> Iterator[Beat]:
    """The same steps without decay, which is curvature too: gradients are only added back."""
    return (replace(beat, pace=replace(beat.pace, decay=0.0)) for beat in beats)


def _shrunk(delta: Vector, curved: Vector, pace: Pace) -> float | None:
    """What a step leaves of a difference, its push aside; with momentum, what many would."""
    length = delta @ delta
    if not length:
        return None
    pulled = pace.lr * (curved + pace.decay * delta)
    momentum = float(delta @ (pace.momentum * delta) / length)
    if momentum:
        return bounds.rate(1.0, curvature=float(delta @ pulled / length), momentum=momentum)
    return float((delta - pulled).norm() / length.sqrt())
