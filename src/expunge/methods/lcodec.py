"""L-CODEC: change only the weights that a sample's loss depends on, by a Newton step on these.

Mehta, Pal, Singh and Ravi, "Deep Unlearning via Randomized Conditionally Independent Hessians",
2022. A sample is perturbed many times; a coefficient of conditional dependence then finds the few
units of the network without which its loss cannot be told, and only the parameters behind them
move: by what the sample pulled, divided by the curvature of what stays.

What differs. The curvature is the true one (Gauss-Newton or Hessian) of the loss on retained
samples, not an outer product of gradients from training; ``faithful=True`` is the published
update, with its gradients told apart by layer, its second gradient really taken, and two gradients
of today in the place of a history. The number of samples shrinks as they leave. A step that does
not lead up the loss of what leaves (with its share of the penalty, where ``l2`` is known), or that
costs too much accuracy on validation data, is taken back, and the notes say for which samples to
retrain. A step is never longer than a share of the weights that it moves.

Noise by ``epsilon`` and ``delta`` follows the paper's formula and is a heuristic: the guarantee it
was taken from asks for all parameters, a strongly convex objective and constants that somebody
declares. Only then is it claimed, with noise by the analytic Gaussian mechanism on all numbers.

A removal costs one forward pass a perturbation, two backward passes for what leaves, a search of a
few hundred microseconds a unit and chosen unit, for Gauss-Newton as many backward passes over
``subsample`` retained samples as the answers have directions, and a look at validation data.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.accounting import as_json
from expunge.algebra.parameters import Block
from expunge.batching import data_digest
from expunge.errors import BadSetting
from expunge.guarding import Guard
from expunge.method import Case, Method, learning
from expunge.moving import gradients
from expunge.noising import BEND, CONVERGED, LIPSCHITZ, Noise, Where
from expunge.observing import BATCH
from expunge.perturbing import Perturb, perturbation
from expunge.resuming import Trail
from expunge.secants import Past, published
from expunge.selecting import Selecting, Selector
from expunge.stepping import Curvature, Ground, Site, off_optimum
from expunge.storing import digest_json, digest_tensors
from expunge.streaming import Leaving, Stream
from expunge.units import Units

_DAMPING = 0.01  # where neither it nor the objective's l2 is given
_PASS, _NUMBERS = 1024, 2**20  # samples in one pass, and numbers of input in them
_EXACT, _ENOUGH = (500, 1e-8), (50, 1e-4)  # rounds and residual of conjugate gradients


@dataclass(frozen=True)
class Lcodec(Method):
    """Move the few weights that a sample's loss depends on, by a Newton step.

    It has more fields than most: selection, curvature, guard and noise each have their dials.
    """

    selection: Selecting | Literal["full"] = "foci"  # units to change; full: every parameter
    curvature: Curvature = "ggn"  # of the retained loss
    faithful: bool = False  # the published update, its faults mended
    at_once: int = 1  # samples in one step; 0: all
    perturbations: int = 1000  # of every sample
    perturb: Literal["auto", "gaussian", "tokens"] | Perturb = "auto"  # how; auto: by its type
    deviation: float = 0.1  # of the noise on inputs
    jitter: float = 0.0  # of the noise on activations: for networks whose numbers repeat
    max_features: int = 15  # units for one step, at most
    l2: float | None = None  # the objective: mean loss + l2/2 · |w|²; None: not known
    damping: float | None = None  # added to the curvature; None: l2 alone, else 0.01
    subsample: int = 128  # retained samples behind the curvature; 0: all
    trust: float = 0.5  # longest step, as a share of the weights that it moves
    utility_drop: float = 0.05  # validation accuracy that may be lost in all
    epsilon: float | None = None  # None: no noise
    delta: float = 0.01  # of the noise
    noise: Where = "block"  # the numbers that get it
    lipschitz: float | None = None  # of a sample's loss, declared; None: 1, and nothing is claimed
    bend: float | None = None  # the same of its Hessian; None: 0.25
    checkpoint: Path | str | None = None  # None: an interrupted run starts again

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        self._check()
        guard = Guard.of(model, case)
        walk = _Walk.begun(self, model, case)
        trail = self._trail(model, case)
        stream = Stream(model, case, guard, trail, self.utility_drop, walk.tally)
        stream.run(walk.step, self.at_once)
        walk.conclude(stream.gone)
        if walk.noise.promised:
            guard.concluded(model, len(case.forget.part))
        return model

    def describe(self) -> dict[str, Any]:
        """The settings as JSON; where an interrupted run is kept changes nothing."""
        return {k: v for k, v in super().describe().items() if k != "checkpoint"}

    @property
    def ridge(self) -> float:
        """What is added to the curvature in every direction."""
        known = self.l2 or 0.0
        return known + (self.damping if self.damping is not None else 0.0 if known else _DAMPING)

    def _check(self) -> None:
        whole = self.selection == "full" and self.curvature not in ("none", "secant")
        if self.ridge == 0 and (not whole or self.faithful or self.epsilon is not None):
            raise BadSetting(
                "nothing is added to the curvature, which may be singular",
                hint="use damping=0.01, or the l2 of the objective.",
            )
        if self.epsilon == 0 or not 0 < self.delta < 1:
            raise BadSetting(
                f"epsilon is {self.epsilon} and delta {self.delta}",
                hint="epsilon must be positive, and delta between 0 and 1.",
            )

    def noised(self, model: nn.Module) -> Noise:
        """The noise that was asked for, with what keeps it from being a guarantee."""
        return Noise(
            self.epsilon,
            self.delta,
            self.noise,
            self.ridge,
            LIPSCHITZ if self.lipschitz is None else self.lipschitz,
            BEND if self.bend is None else self.bend,
            () if self.epsilon is None else self._unmet(model),
        )

    def _unmet(self, model: nn.Module) -> tuple[str, ...]:
        conditions = {
            "selection must be full": self.selection == "full",
            "no parameter may be frozen": all(p.requires_grad for p in model.parameters()),
            "no buffer may hold what was learnt from the data": not any(
                value.is_floating_point() for value in model.buffers()
            ),
            "curvature must be the hessian of all retained samples": self.curvature == "hessian"
            and not self.subsample
            and not self.faithful,
            "the l2 of the objective must be known, with no other damping": bool(self.l2)
            and not self.damping,
            "lipschitz and bend must be declared": None not in (self.lipschitz, self.bend),
            "noise must be on all numbers": self.noise == "all",
        }
        return tuple(text for text, holds in conditions.items() if not holds)

    def _trail(self, model: nn.Module, case: Case) -> Trail:
        if self.checkpoint is None:
            return Trail(None, "")
        sets = {"forget": case.forget, "retain": case.retain, "validation": case.validation}
        parts = {name: batches.part for name, batches in sets.items() if batches is not None}
        start = {name: part.indices for name, part in parts.items()}
        start["rng"] = torch.get_rng_state()
        data = sorted({data_digest(part.source) for part in parts.values()})
        weights = digest_tensors(start | model.state_dict())
        run = digest_json([self.describe(), as_json(case.task), data, weights])
        return Trail(Path(self.checkpoint), run)


@dataclass(slots=True, eq=False)
class _Walk:
    """What one run computes once, and its step."""

    how: Lcodec
    model: nn.Module
    case: Case
    ground: Ground
    units: Units | None  # None: every parameter moves
    selector: Selector | None
    past: Past | None  # None: the update is not the published one
    noise: Noise
    off: float  # how far the original may lie from its optimum, where a guarantee asks for that
    tally: Counter[str] = field(default_factory=Counter)  # of steps, and what they moved or missed

    @classmethod
    def begun(cls, how: Lcodec, model: nn.Module, case: Case) -> "_Walk":
        """Choose retained samples and find the units."""
        ids = case.retain.part.indices
        some = ids[torch.randperm(len(ids))[: how.subsample or len(ids)].sort().values]
        exact = how.selection == "full" and how.l2 is not None
        ground = Ground(
            case.retain, some.split(_pass(case)), case.task, how.curvature, how.ridge,
            *(_EXACT if exact else _ENOUGH),
        )  # fmt: skip
        past = Past.of(model, partial(ground.gradient, model)) if how.faithful else None
        noise = how.noised(model)
        leaving = replace(
            ground, source=case.forget, chunks=case.forget.part.indices.split(_pass(case))
        )
        off = off_optimum(model, (ground, leaving), how.l2 or 0.0) if noise.promised else 0.0
        if how.selection == "full":
            return cls(how, model, case, ground, None, None, past, noise, off)
        first = case.task.inputs(case.forget.take(case.forget.part.indices[:1]))
        perturb = perturbation(how.perturb, model, first, deviation=how.deviation)
        selector = Selector(how.selection, perturb, how.perturbations, how.max_features, how.jitter)
        return cls(how, model, case, ground, _heard(model, case), selector, past, noise, off)

    def step(self, leaving: Leaving) -> bool | None:
        """Take one group out."""
        site = self._site(leaving)
        if site is None or (leaving.norm == 0 and not self.how.l2):
            return None
        block, parameters = site.block, dict(self.model.named_parameters())
        here = block.gather(parameters).detach()
        m = len(leaving.ids)
        pull = block.gather(leaving.gradient) + (self.how.l2 or 0.0) * m * here
        step = self._newton(leaving, site, pull).to(here) / leaving.left
        size, length = float(here.norm()), float(step.norm())
        cut = size > 0 and self.how.trust * size < length  # zeros are no measure for a step
        block.move(self.model, step * (self.how.trust * size / length) if cut else step)
        if not float(pull @ (block.gather(parameters).detach() - here)) > 0:
            return False
        self.noise.blur(self.model, block, leaving=m, count=leaving.left + m)
        self.tally.update(steps=1, moved=len(block), cut=int(cut))
        return True

    def _newton(
        self, leaving: Leaving, site: Site, pull: Float[Tensor, " k"]
    ) -> Float[Tensor, " k"]:
        if self.past is not None:
            own = Past.of(self.model, partial(self._own, leaving))
            share = len(leaving.ids) / leaving.left
            return published(
                site.block, pull, (self.past, own), share=share, damping=self.how.ridge
            )
        ground = self._around(leaving)
        found = ground.solve(self.model, site, pull)
        self.tally.update(unsolved=int(not ground.solved(found)))
        return found.x

    def _own(self, leaving: Leaving) -> dict[str, Tensor]:
        batch = self.case.forget.take(leaving.ids)
        return gradients(self.model, self.case.task.loss(self.model, batch).mean())

    def _around(self, leaving: Leaving) -> Ground:
        """The ground; where it is everybody who stays, those who have not left yet are of it."""
        if self.how.subsample:
            return self.ground
        waiting = leaving.waiting.split(_pass(self.case)) if len(leaving.waiting) else ()
        return replace(self.ground, chunks=[*self.ground.chunks, *waiting])

    def _site(self, leaving: Leaving) -> Site | None:
        if self.units is None or self.selector is None:
            return Site(Block.whole(self.model))
        chosen = self.selector.choose(self.model, self.case, self.units, leaving.ids)
        return Site.behind(self.units, chosen) if chosen else None

    def conclude(self, gone: int) -> None:
        """Say how much was moved, and add the noise of a guarantee."""
        report, tally = self.case.report, self.tally
        if tally["steps"] and self.units is not None:
            report.note(
                f"{tally['moved'] / tally['steps']:,.0f} of {len(Block.whole(self.model)):,} "
                f"parameters moved in a step, on average"
            )
        if tally["cut"]:
            report.note(f"a step was cut to {self.how.trust:.0%} of the weights that it moves")
        if tally["unsolved"]:
            report.note(
                f"in {tally['unsolved']:,} of {tally['steps']:,} steps the curvature bends "
                f"downwards somewhere, or was solved less closely than to {self.ground.tolerance:g}"
            )
        everybody = len(self.case.retain.part) + len(self.case.forget.part)
        but = "; ".join(self._broken(gone, everybody))
        self.noise.conclude(self.model, report, gone=gone, count=everybody, but=but)

    def _broken(self, gone: int, everybody: int) -> Iterator[str]:
        """Conditions of a guarantee that can be told at the end alone."""
        if self.tally["cut"]:
            yield "a step was cut short"
        if self.tally["unsolved"]:
            yield "a step is not the Newton step of a convex objective"
        hidden = CONVERGED * self.noise.shift(gone, everybody)
        if gone and self.off * everybody / (everybody - gone) > hidden:
            yield "the original is not at the optimum of its objective"


def _pass(case: Case) -> int:
    """Samples in a pass: fewer where a sample is large."""
    one = case.task.inputs(case.retain.take(case.retain.part.indices[:1]))
    size = one.numel() if isinstance(one, Tensor) else _NUMBERS // BATCH
    return max(1, min(_PASS, _NUMBERS // max(1, size)))


def _heard(model: nn.Module, case: Case) -> Units:
    """Units that speak for every sample; seven are asked, which is no usual number of tokens."""
    some = case.retain.take(case.retain.part.indices[:7])
    return Units.of(model).heard(model, lambda: case.task.answer(model, some).logits)
