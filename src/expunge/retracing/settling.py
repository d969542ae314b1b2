"""Where retraining leads: the optimum of the retained loss, how far it can be, and steps to it.

A certificate holds where every sample's loss is convex and every parameter decays: the gradient at
a place, divided by the decay, bounds the distance from there to the retrained optimum. Curvature
may be that of some retained samples alone; gradients, and so the certificate, are those of all.
"""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.bounds import certificate
from expunge.algebra.contraction import Scale
from expunge.algebra.curvature import conjugate_gradients
from expunge.history import History
from expunge.method import Case
from expunge.retracing.path import Ordered
from expunge.retracing.readout import Readout
from expunge.retracing.terrain import Terrain, terrain
from expunge.tasks import Classification, MultiLabel, Regression

_DAMPING = 0.01  # where nothing decays
_CLOSE, _ROUGH = 1e-8, 0.1  # residuals at which a tail, and a step to the optimum, are solved
_FEWEST = 4096  # samples behind the curvature, where nobody says how many
_PAST = 0.5  # of the slope along a step: so steep may it rise at its end
_SEEN = 256  # samples that show whether a model answers in training as in use
_LENGTHS = (1, 1 / 4, 1 / 16)  # of a step to the optimum; if all fail, rounding is what is left

Vector = Float[Tensor, " k"]


@dataclass(frozen=True, eq=False)
class Objective:
    """The mean loss of the retain set with its decay, for a model that stands somewhere."""

    model: nn.Module
    case: Case
    ordered: Ordered
    decay: Scale  # of every parameter
    least: float | None  # curvature in any direction; None: the loss is not convex, or not known
    subsample: int | None = None  # retained samples behind the curvature; 0: all
    rounds: int = 50  # of conjugate gradients, at most
    tally: Counter[str] = field(default_factory=Counter)  # sample gradients, and products

    @classmethod
    def of(
        cls, history: History, model: nn.Module, case: Case, ordered: Ordered, *, sure: bool
    ) -> "Objective":
        """With the decay that the recorded optimizer had last."""
        decays = _decays(history)
        decay = ordered.spread(decays, ordered.place(model))
        return cls(model, case, ordered, decay, min(decays) if sure else None)

    def certified(self) -> float | None:
        """The farthest that the retrained optimum can be; None where nothing is certain."""
        return self._bound(self._origin[1]) if self.least else None

    def unrest(self) -> float:
        """How steep everybody's loss is where the original stands, beside that of who stays."""
        _, slope = self._origin
        pull = self._mean(self._leaves) + self.decay * self.place
        return float((self._share * pull + (1 - self._share) * slope).norm() / slope.norm())

    def tail(self, *, rough: bool = False) -> Vector:
        """What the forget set has moved a model at rest, all of its past counted.

        Roughly is enough where polish follows.
        """
        stays = self._stays
        push = self._share * (self._mean(self._leaves) - self._mean(stays))
        if not rough:
            return self._solved(push, _CLOSE).to(self.place)
        return -stays.stride(-self._solved(push, _ROUGH), -push, self.decay)

    def settle(self, steps: int, goal: Callable[[], float]) -> float:
        """Go towards the optimum until the certificate reaches the goal there; return it."""
        slope, trace = self._begun() if steps else self._slope(), self.case.report.trace
        trace("certificate", 1, self._bound(slope))
        for step in range(2, steps + 2):
            if self._bound(slope) <= goal():
                break
            there = self._descended(slope)
            if there is None:
                break
            slope = there
            trace("certificate", step, self._bound(slope))
        return self._bound(slope)

    def _begun(self) -> Vector:
        """The gradient where steps begin: back at the original, if the window led past."""
        there, slope = self._origin
        begun, place = self._slope(), self.place
        if not _past(there - place, slope, begun):
            return begun
        self.case.report.note("the window led too far: polish begins where the original stood")
        self.ordered.put(self.model, there)
        return slope

    def _descended(self, slope: Vector) -> Vector | None:
        """The gradient after a step that does not lead past; None, and no step, where all do."""
        place = self.place
        step = self._stays.stride(self._solved(slope, _ROUGH), slope, self.decay)
        for length in _LENGTHS:
            self.ordered.put(self.model, place - length * step)
            there = self._slope()
            if not _past(step, slope, there):
                return there
        self.ordered.put(self.model, place)
        return None

    @cached_property
    def _origin(self) -> tuple[Vector, Vector]:
        """Where the model stood when it was first asked, and the gradient there."""
        return self.place.clone(), self._slope()

    @property
    def place(self) -> Vector:
        """Where the model stands."""
        return self.ordered.place(self.model)

    @cached_property
    def _stays(self) -> Terrain:
        return self._over(self.case.retain.part.indices)

    @cached_property
    def _leaves(self) -> Terrain:
        return self._over(self.case.forget.part.indices)

    @property
    def _share(self) -> float:
        return self._leaves.count / (self._leaves.count + self._stays.count)

    def _over(self, ids: Int[Tensor, " n"]) -> Terrain:
        return terrain(self.model, self.case, self.ordered, ids)

    def _bound(self, slope: Vector) -> float:
        return certificate(float(slope.norm()), self.least) if self.least else torch.inf

    def _slope(self) -> Vector:
        return self._mean(self._stays) + self.decay * self.place

    def _mean(self, samples: Terrain) -> Vector:
        self.tally["gradients"] += samples.count
        return samples.gradient()

    def _solved(self, b: Vector, tolerance: float) -> Vector:
        some, least = self._some(), float(torch.as_tensor(self.decay).min())
        product, guess = some.bend(rough=tolerance >= _ROUGH, ridge=least or _DAMPING)
        found = conjugate_gradients(
            lambda v: product(v) + self.decay * v, b, rounds=self.rounds, tolerance=tolerance,
            damping=0.0 if least else _DAMPING, preconditioner=guess,
        )  # fmt: skip
        self.tally["products"] += (found.rounds + 1) * some.count
        return found.x

    def _some(self) -> Terrain:
        """Retained samples behind the curvature: where products are dear, no more than it takes."""
        ids = self.case.retain.part.indices
        usual = len(ids) if isinstance(self._stays, Readout) else 2 * len(self.ordered.block)
        count = (max(_FEWEST, usual) if self.subsample is None else self.subsample) or len(ids)
        if count >= len(ids):
            return self._stays
        return self._over(ids[torch.randperm(len(ids))[:count]])


def _past(step: Vector, before: Vector, after: Vector) -> bool:
    """Whether a step against the gradient leads far beyond where a convex loss is least."""
    step = step.double()
    return bool(-(after.double() @ step) > _PAST * (before.double() @ step))


def unmet(history: History, case: Case, *, convex: bool, follows: bool) -> str:
    """Why there is no certificate; nothing, where there is one.

    ``follows`` says that training saw data and answers as they are, and left buffers alone.
    """
    known = type(case.task) in (Classification, MultiLabel, Regression)
    conditions = {
        "the model is not convex in its parameters": convex and known,
        "the run's optimizer was not SGD": history.optimizer == "sgd",
        "not every parameter decays": min(_decays(history)) > 0,
        "training saw other data than these, or other answers, or changed buffers": follows,
        "a penalty was added to the loss": "penalty" not in history.beside,
        "some parameters learned in some steps only": history.steady,
        "no gradient was kept that the loss could be compared with": (
            history.steps[-1].gradient() is not None
        ),
    }
    return "; ".join(text for text, holds in conditions.items() if not holds)


def _decays(history: History) -> list[float]:
    return [group["weight_decay"] for group in history.steps[-1].settings]


@torch.no_grad()
def wavers(model: nn.Module, case: Case) -> bool:
    """Whether training saw other answers than are given in use: by dropout, noise or batches."""
    batch = case.retain.take(case.retain.part.indices[:_SEEN])
    with torch.random.fork_rng():
        trains = case.task.answer(deepcopy(model).train(), batch).logits
    return not torch.allclose(trains, case.task.answer(model, batch).logits)


@torch.no_grad()
def affine(model: nn.Module, case: Case, ordered: Ordered) -> bool:
    """Whether answers are affine in the parameters, as half-way between two places they tell.

    A convex loss of such answers is convex. Places are drawn at random, and far apart: other
    models hardly ever answer so there.
    """
    batch, place = case.retain.take(case.retain.part.indices[:7]), ordered.place(model)
    ends = [place + (place.abs().max() + 1) * torch.randn_like(place) for _ in range(2)]
    said = []
    for there in (*ends, (ends[0] + ends[1]) / 2):
        ordered.put(model, there)
        said.append(case.task.answer(model, batch).logits.double())
    ordered.put(model, place)
    gap = (said[0] + said[1]) / 2 - said[2]
    return bool(gap.abs().max() <= 1e-4 * said[0].abs().max())
