"""Mini-Unlearning: a short recorded history, and a contraction that damps what lies before it.

After Huang et al., "Mini-Unlearning", 2024 (arXiv 2406.16986; journal version 10.1145/3793867).
A reconstruction: nothing but the abstract was public to us, which says that retrained and
unlearned weights are related through a contraction, and that a few historical gradients suffice
even where much is deleted. What follows is derived from that, and measured; it is not their code.

The difference between a run with and one without the forget set shrinks with every step by what
curvature there is, so that only the last steps matter. ``replay`` takes these steps again with
retained samples alone; ``linear`` carries the difference through them by products with the
curvature; ``delta`` does so from gradients, as DeltaGrad; ``none`` adds gradients back, as a
warning. One solve, the tail, estimates what lay before the window. For convex models with weight
decay the gradient bounds how far the retrained optimum still is; steps are then polished until that
certificate is small. Deep networks have none.

Replaying costs what these steps of training cost. Else a step costs the gradients of the smaller
side of its batch and a product of curvature with the larger one; a tail and a step of polish cost a
gradient of all samples, and ``rounds`` products over ``subsample`` of them.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from expunge.errors import BadSetting, HistoryDoesNotFit
from expunge.history import History
from expunge.method import Case, Method, learning
from expunge.recording.pretending import pretended
from expunge.retracing.belonging import check_data, check_model, check_request, check_rules
from expunge.retracing.certainty import Certainty
from expunge.retracing.deciding import chosen, needed
from expunge.retracing.hiding import Promise
from expunge.retracing.path import Ordered, Window
from expunge.retracing.propagating import Road, Way, carry, spoken
from expunge.retracing.renewing import live, renew, steady
from expunge.retracing.replaying import Precision, Replay, absent
from expunge.retracing.settling import Objective, affine, unmet, wavers
from expunge.retracing.sharing import shared
from expunge.tasks import Batch

Mode = Literal["auto", "replay", "linear", "delta", "none"]
Curvature = Literal["midpoint", "hessian", "ggn", "lbfgs", "scalar"]


@dataclass(frozen=True)
class Mini(Method):
    """Take the last recorded steps without the forget set; training damps what lies before them.

    It has more fields than most: the window, what stands for its past, and the certificate.
    """

    history: Path | str  # the folder that `expunge.record` or Fit(record=...) filled
    mode: Mode = "auto"  # how steps are taken; auto: by model and by the share that leaves
    window: int | None = None  # last steps to take; None: as many as the bound asks, or all
    curvature: Curvature = "midpoint"  # of linear mode
    every: int = 5  # steps between exact curvatures, in delta mode and with lbfgs
    tail: bool | Literal["auto"] = "auto"  # estimate what lies before the window; auto: by bound
    rounds: int = 50  # of conjugate gradients, at most
    subsample: int | None = None  # retained samples behind curvature; None: by size; 0: all
    polish: int = 20  # steps after the window, at most, while the certificate is too large
    tolerance: float = 0.01  # what may be left, as a share of how far doing nothing is off
    radius: float | None = None  # the same as a distance, which noise hides; None: by tolerance
    convex: bool | None = None  # declared; None: if answers are affine in what learns
    augment: Callable[[Batch], Batch] | None = None  # that the run was trained with
    precision: Precision = "auto"  # of replayed steps; as that of Fit
    epsilon: float | None = None  # None: no noise
    delta: float = 1e-5  # of the noise
    workers: int = 1  # processes that share gradients in linear mode

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        self._check()
        run = _Run.begun(self, History.open(self.history), model, case)
        run.take()
        run.conclude()
        return model

    def _check(self) -> None:
        if 0 in (self.window, self.every, self.workers):
            raise BadSetting("window, every or workers is 0", hint="they must be positive.")
        if self.tolerance <= 0:
            raise BadSetting("tolerance is not positive", hint="some share must be left: 0.01.")
        if self.epsilon is not None and (self.epsilon == 0 or not 0 < self.delta < 1):
            raise BadSetting(
                f"epsilon is {self.epsilon} and delta {self.delta}",
                hint="epsilon must be positive, and delta between 0 and 1.",
            )
        if self.epsilon is not None and not self.radius:
            raise BadSetting(
                "noise hides a distance that was declared beforehand, and none was",
                hint="set radius=0.01, say: a share of what was measured depends on the data.",
            )

    def way(self, mode: Mode) -> Way:
        """How differences are carried, in a mode that replays nothing."""
        return mode if mode in ("delta", "none") else self.curvature

    @classmethod
    def example(cls, folder: Path, model: nn.Module, case: Case) -> "Mini":
        """Record the contract suite's toy for a few steps from a fresh start."""
        data, to = case.retain.part.source, folder / "history"
        return cls(pretended(model, data, case.task, to, lr=0.1, momentum=0.9, shrunk=0.9))


@dataclass(slots=True, eq=False)
class _Run:
    """One run: the history, what is certain, and what was asked of the data."""

    how: Mini
    history: History
    model: nn.Module
    case: Case
    ordered: Ordered
    convex: bool
    objective: Objective
    certain: Certainty

    @classmethod
    def begun(cls, how: Mini, history: History, model: nn.Module, case: Case) -> "_Run":
        """Look whether the history fits, and what can be certain."""
        check_data(history, case)
        first = history.start(history.starts[0])
        check_model(history, first, model)
        check_rules(history, augmented=how.augment is not None)
        ordered = Ordered.of(history, model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in ordered.names)
        convex = affine(model, case, ordered) if how.convex is None else how.convex
        plain = steady(model, first.model) and not wavers(model, case)
        follows = how.augment is None and plain
        unsure = unmet(history, case, convex=convex, follows=follows)
        objective = Objective.of(history, model, case, ordered, sure=not unsure)
        objective = replace(objective, subsample=how.subsample, rounds=how.rounds)
        certain = Certainty.of(objective, unsure)
        return cls(how, history, model, case, ordered, convex, objective, certain)

    def take(self) -> None:
        """Decide how to take which steps, and take them."""
        self._check_promise()
        mode, (count, enough) = self._mode(), self._length()
        window, tail = Window.last(self.history, count), self._tail(mode, enough=enough)
        if mode == "replay":
            window = Window(window.start, window.steps, 0)
        self._tell(window, enough=enough)
        gone = absent(self.case, self.history.size)
        check_request(window, self.case, gone, whole=tail)
        if mode == "replay":
            self._replay(window)
        else:
            road = Road(
                self.model, self.case, self.ordered, gone, self.how.way(mode), self.how.every,
                self.objective.tally,
            )  # fmt: skip
            self._follow(road, window, tail=tail)

    def conclude(self) -> None:
        """Go on to the optimum where that can be certified, add noise, and say what it cost."""
        self._settle()
        asked = self.objective.tally
        self.case.report.note(
            f"{asked['gradients']:,} gradients of samples and {asked['products']:,} products with "
            f"their curvature, from a history of {self.history.bytes / 1e6:,.1f} MB"
        )

    def _check_promise(self) -> None:
        learnt = len([*self.model.parameters()]) == len(self.ordered.names)
        why = self.certain.unsure or (
            "" if learnt else "some parameters were not trained in the history"
        )
        if why and self.how.epsilon is not None:
            raise BadSetting(f"epsilon can promise nothing: {why}", hint="leave it out.")

    def _mode(self) -> Mode:
        mode, history = self.how.mode, self.history
        if mode == "auto":
            share = len(self.case.forget.part) / history.size
            sure = self.certain.before is not None
            mode, why = chosen(history, share=share, convex=self.convex, certain=sure)
            self.case.report.note(f"mode {mode}: {why}")
        if mode != "replay" and history.optimizer == "adamw":
            raise BadSetting(f"mode={mode} cannot follow AdamW", hint='use mode="replay".')
        return mode

    def _length(self) -> tuple[int, bool]:
        """How many steps to take, and whether the bound asks for no more."""
        kept, asked = len(self.history.steps), self.how.window
        if asked is not None and asked > kept:
            raise HistoryDoesNotFit(
                f"window={asked}, but history {self.history.folder} holds {kept} steps",
                hint="use a shorter window, or record with a larger keep.",
            )
        least, enough = self.objective.least, None
        before, radius = self.certain.before, self.how.radius
        if before and least:
            share = radius / before if radius else self.how.tolerance
            enough = needed(self.history, curvature=least, share=share)
        count = asked or enough or kept
        return count, enough is not None and count >= enough

    def _tail(self, mode: Mode, *, enough: bool) -> bool:
        if self.how.tail is True and mode == "replay":
            raise BadSetting(
                "a replay reads no forgotten sample, and a tail cannot be found without them",
                hint='leave tail="auto", or use mode="linear".',
            )
        if self.how.tail == "auto":
            return mode in ("linear", "delta") and self.convex and not enough
        return self.how.tail

    def _tell(self, window: Window, *, enough: bool) -> None:
        count, end = len(window.inside), window.steps[-1].number + 1
        why = "no bound says how many are needed"
        if not self.certain.unsure:
            why = "as many as the bound asks" if enough else "the bound asks for more"
        if self.how.window is not None:
            why = "as was set" if count == self.how.window else "where a start was kept"
        self.case.report.note(f"window: the last {count:,} of {end:,} steps ({why})")
        if self.history.ended is None:
            self.case.report.note("whether the recorded run ended with this model is not known")

    def _replay(self, window: Window) -> None:
        replay = Replay.at(
            window.start, self.history, self.model, self.case,
            augment=self.how.augment, precision=self.how.precision,
        )  # fmt: skip
        if not replay.compare(window, self.ordered):
            self._doubt("the task's loss was not compared with the one that was trained")
        found = replay.run(window.inside)
        self.case.report.trace("displacement", window.steps[-1].number, self.certain.moved())
        self.objective.tally["gradients"] += found["gradients"]
        if found["skipped"]:
            self.case.report.note(f"{found['skipped']} steps were left out: too little stays")
        renew(self.model, replay.norms, self.case.retain, self.case.task)

    def _doubt(self, why: str) -> None:
        """Say what is not known. Nothing is certain then, and nothing can be promised."""
        self.case.report.note(why)
        if self.how.epsilon is not None:
            raise BadSetting(f"epsilon can promise nothing: {why}", hint='use mode="linear".')
        self.certain.lose(why)

    def _follow(self, road: Road, window: Window, *, tail: bool) -> None:
        norms = live(self.model, window.start.model)
        share = self.how.workers > 1 and road.way not in ("delta", "none")
        crew = shared(road, window, self.how.workers) if share else nullcontext()
        with crew as pushes:
            rough = self.certain.before is not None and self.how.polish > 0
            before = partial(self.objective.tail, rough=rough) if tail else None
            factor = carry(road, window, tail=before, pushes=pushes)
        self.case.report.note(spoken(road.way, factor, tail=tail))
        renew(self.model, norms, self.case.retain, self.case.task)

    def _settle(self) -> None:
        how = self.how
        steps = 0 if how.mode == "none" else how.polish  # a warning is not to be mended
        reached = self.certain.settle(steps, how.tolerance, how.radius)
        if how.epsilon is not None and how.radius is not None:
            promise = Promise(how.radius, how.epsilon, how.delta)
            self.case.report.note(promise.hide(self.ordered, self.model, kept=reached))
