"""SCRUB: disobey the original on what must go, obey it on what remains, and rewind.

Kurmanji, Triantafillou, Hayes and Triantafillou, "Towards Unbounded Machine Unlearning", 2023. An
epoch begins with steps that push answers about the forget set away from the original's, measured by
their divergence, and goes on with steps on the retain set that pull towards the original's answers
and the labels; the last epochs only pull, one at least where there are several. Rewinding takes the
epoch after which the error on the forget set is nearest to what the final model errs on unseen
samples like the forgotten: a higher error would give them away too.

What differs: the model begins a nudge away from the original, for where both agree the divergence
is flat, and pushes nowhere; pushes are a share of an epoch's steps, whatever the size of the forget
set; a sample is pushed no further once its divergence is the loss of a guess; unseen samples are
validation data, weighted to the classes of the forgotten. Where classes leave as a whole, or
without validation data, nothing is rewound.

It costs two forward passes and one backward pass of the retain set an epoch, as much for every
forget batch that is pushed, and a look at forget and validation sets after each epoch. It holds a
copy of the model for every epoch. BatchNorm and dropout run in training mode for retained samples
alone.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor, nn

from expunge.algebra.distilling import divergence
from expunge.descending import Descent, chance, mean_loss
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.observing import BATCH, observe
from expunge.relabelling import own_labels
from expunge.request import Classes
from expunge.stopping import matched
from expunge.tasks import Batch, Kind

_HEAT = 4.0  # as published: logits are divided by it
_FOR_CLASSES, _FOR_SAMPLES = 1.5, 0.5  # pushes, as a share of an epoch's other steps
_NUDGE = 0.05  # of the deviation of every tensor of weights


@dataclass(frozen=True)
class Scrub(Method):
    """Push answers about the forget set away from the original's, and hold the rest to them."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    epochs: int = 5  # passes over the retain set
    pushing: int = 3  # of these epochs, the first so many, begin with pushes
    pushes: float | None = None  # in such an epoch, as a share of its other steps; None: by target
    lr: float = 0.02  # learning rate of SGD, constant
    momentum: float = 0.9  # of SGD
    loyalty: float = 0.5  # share of the divergence from the original in the loss on what remains
    rewind: bool = True  # single samples: keep the epoch that treats them as unseen ones

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if not 0 <= self.loyalty <= 1:
            raise BadSetting(f"loyalty is {self.loyalty}", hint="it lies between 0 and 1.")
        classes = all(isinstance(target, Classes) for target in case.targets)
        pushes = (_FOR_CLASSES if classes else _FOR_SAMPLES) if self.pushes is None else self.pushes
        original = deepcopy(model).requires_grad_(requires_grad=False)
        push, pull = _push(model, original, case), self._pull(model, original, case)
        if self.pushes is None:
            case.report.settled({"pushes": pushes})
        if self.epochs and self.pushing:
            _nudge(model)
        up, down = self._descent(model, case), self._descent(model, case)
        leaving, rewinding = case.forget.endless(), _Rewinding.of(self, case)
        counts = self._counts(pushes, len(case.retain))
        down.expect(sum(counts) + self.epochs * len(case.retain))
        for count in counts:
            model.eval()  # BatchNorm stands still while forgotten samples pass through
            _taken(up, islice(leaving, count), push)
            model.train()
            _taken(down, case.retain.epochs(1), pull)
            if rewinding is not None:
                rewinding.remember(model)
        if rewinding is not None and self.epochs:
            rewinding.rewind(model)
        return model

    def _counts(self, pushes: float, steps: int) -> list[int]:
        """How many pushes every epoch begins with."""
        pushing = min(self.pushing, max(1, self.epochs - 1))
        return [ceil(pushes * steps) if epoch < pushing else 0 for epoch in range(self.epochs)]

    def _descent(self, model: nn.Module, case: Case) -> Descent:
        return Descent.of(model, case, lr=self.lr, momentum=self.momentum)

    def _pull(self, model: nn.Module, original: nn.Module, case: Case) -> Callable[[Batch], Tensor]:
        def pull(batch: Batch) -> Tensor:
            answers = (case.task.answer(m, batch).logits for m in (original, model))
            apart = divergence(*answers, heat=_HEAT).mean()
            return self.loyalty * apart + (1 - self.loyalty) * loss(batch)

        loss = mean_loss(model, case)
        return pull


@torch.no_grad()
def _nudge(model: nn.Module) -> None:
    """Move every weight that may learn by a little chance."""
    for weight in learning(model):
        weight.add_(_NUDGE * weight.std(correction=0) * torch.randn_like(weight))


def _push(model: nn.Module, original: nn.Module, case: Case) -> Callable[[Batch], Tensor]:
    ceiling = chance(model, case)

    def push(batch: Batch) -> Tensor:
        answers = (case.task.answer(m, batch).logits for m in (original, model))
        return -divergence(*answers, heat=_HEAT).clamp_max(ceiling).mean()

    return push


def _taken(descent: Descent, batches: Iterable[Batch], loss: Callable[[Batch], Tensor]) -> None:
    """Take a step on each of these batches."""
    for batch in batches:
        descent.step(loss(batch))


@dataclass(frozen=True, slots=True, eq=False)
class _Rewinding:
    """What the model was after every epoch, and how often it erred on forgotten samples."""

    case: Case
    states: list[dict[str, Tensor]]
    errors: list[float]

    @classmethod
    def of(cls, how: Scrub, case: Case) -> "_Rewinding | None":
        if not how.rewind or all(isinstance(target, Classes) for target in case.targets):
            return None
        if case.validation is None or not len(case.validation.part):
            case.report.note(
                "no validation data: nothing tells how unseen samples are treated, so nothing was "
                "rewound, and the last epoch stands"
            )
            return None
        return cls(case, [], [])

    def remember(self, model: nn.Module) -> None:
        everybody = replace(self.case.forget, size=BATCH, shuffle=False)
        self.states.append(deepcopy(model.state_dict()))
        self.errors.append(1 - observe(model, everybody, self.case.task).accuracy)
        self.case.report.trace("forget error", len(self.errors), self.errors[-1])

    def rewind(self, model: nn.Module) -> None:
        """Take the epoch whose error is nearest to that on unseen samples; the last of equals."""
        goal = self._unseen(model)
        if goal is None:
            self.case.report.note("no validation sample is of a forgotten class: nothing rewound")
            return
        epochs = range(len(self.errors))
        best = min(epochs, key=lambda epoch: (abs(self.errors[epoch] - goal), -epoch))
        model.load_state_dict(self.states[best])
        self.case.report.note(
            f"rewound to epoch {best + 1} of {len(epochs)}: it errs on {self.errors[best]:.1%} of "
            f"the forget set, and the last on {goal:.1%} of unseen samples like it"
        )

    def _unseen(self, model: nn.Module) -> float | None:
        """How often unseen samples of the classes of the forgotten are missed."""
        case = self.case
        if case.validation is None:
            return None
        labels = own_labels(case)
        there = observe(model, replace(case.validation, size=BATCH, shuffle=False), case.task)
        weights = matched(labels, there.labels)
        return None if weights is None else 1 - (weights * there.correct).sum().item()
