"""The steps that many methods take: over what stays, or on a forget and a retain term at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import cos, inf, log, pi
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import SGD

from expunge.errors import BadSetting, Diverged
from expunge.method import Case, learning
from expunge.tasks import Batch

Term = Callable[[Any], Tensor]
"""A part of the loss: one number of whatever a step is given."""


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """SGD on some parameters, and the case whose report counts its steps."""

    optimizer: SGD
    case: Case
    masks: Sequence[Tensor] | None = None  # what gradients are multiplied by; None: nothing
    clip: float = 0.0  # a longer gradient is shortened to this norm; 0: none is

    @classmethod
    def of(
        cls,
        model: nn.Module,
        case: Case,
        *,
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip: float = 0.0,
    ) -> "Descent":
        """Descend in all parameters that may learn."""
        optimizer = SGD(learning(model), lr=lr, momentum=momentum, weight_decay=weight_decay)
        return cls(optimizer, case, clip=clip)

    def step(self, loss: Tensor) -> None:
        """Go one step down, and count it."""
        self.case.report.step(loss)
        self.optimizer.zero_grad()
        loss.backward()
        for mask, parameter in zip(self.masks or (), self._parameters(), strict=False):
            if parameter.grad is not None:
                parameter.grad.mul_(mask)
        if self.clip:
            norm = nn.utils.clip_grad_norm_(self._parameters(), self.clip)
            if not norm.isfinite():
                step = len(self.case.report.traces["loss"])
                raise Diverged(
                    f"the gradient's length is {norm.item()} at step {step}",
                    hint="use a smaller learning rate, or fewer steps.",
                )
        self.optimizer.step()

    def slow(self, share: float) -> None:
        """Set the learning rate to where a cosine puts it after this share of all steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(share) * self.optimizer.defaults["lr"]

    def expect(self, steps: int) -> None:
        """Say how many more steps will come."""
        report = self.case.report
        report.total = len(report.traces.get("loss", ())) + steps

    def _parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def cosine(share: float) -> float:
    """What is left of a falling rate after this share of all steps: from one to zero."""
    return 0.5 * (1 + cos(pi * share))


def epochs(
    descent: Descent,
    count: int,
    loss: Term,
    *,
    extra: Callable[[float], Tensor] | None = None,
    falling: bool = False,
) -> None:
    """Pass over the retain set so many times, in the model's present mode.

    ``extra`` is added to the loss of every batch; it is told which share of all steps was made.
    Where the rate is ``falling``, it follows a cosine to zero.
    """
    retain = descent.case.retain
    steps = count * len(retain)
    descent.expect(steps)
    for step, batch in enumerate(retain.epochs(count)):
        if falling:
            descent.slow(step / steps)
        descent.step(loss(batch) if extra is None else loss(batch) + extra(step / steps))


def balance(
    descent: Descent,
    leaving: Iterable[Any],
    *,
    away: Term,
    stay: Term,
    steps: int,
    share: float,
) -> None:
    """Take steps on ``share`` of a forget term and the rest of a retain term.

    At a share of one no retained sample is ever looked at.
    """
    if not 0 <= share <= 1:
        raise BadSetting(f"share is {share}", hint="it lies between 0 and 1.")
    descent.expect(steps)
    kept = descent.case.retain.endless() if share < 1 else repeat(None)
    for _, gone, staying in zip(range(steps), leaving, kept, strict=False):
        loss = share * away(gone)
        if share < 1:
            loss = loss + (1 - share) * stay(staying)
        descent.step(loss)


def mean_loss(model: nn.Module, case: Case) -> Term:
    """The task's loss of a batch."""

    def loss(batch: Batch) -> Float[Tensor, ""]:
        return case.task.loss(model, batch).mean()

    return loss


def climbing(model: nn.Module, case: Case, *, bounded: bool = True) -> Term:
    """The loss turned round; where bounded, a sample at chance counts no more."""
    ceiling = chance(model, case) if bounded else inf

    def away(batch: Batch) -> Float[Tensor, ""]:
        return -case.task.loss(model, batch).clamp_max(ceiling).mean()

    return away


def chance(model: nn.Module, case: Case) -> float:
    """The loss of a guess; a regression has none."""
    match case.task.kind:
        case "classification":
            return log(classes(model, case))
        case "multilabel":
            return log(2)
        case "regression":
            return inf


def classes(model: nn.Module, case: Case) -> int:
    """How many classes the model tells."""
    first = case.forget.take(case.forget.part.indices[:1])
    return case.task.answer(model, first).logits.shape[1]
