"""UNSIR: learn noise that maximises the error on a class, impair the model with it, repair.

Tarun, Chundawat, Mandal and Kankanhalli, "Fast Yet Effective Machine Unlearning", 2023. For every
forgotten class, noise of the inputs' shape learns to be as unlike the class as the model can tell.
Training on that noise under the class's label, beside retained samples, breaks what the model knows
of the class; an epoch on retained samples mends the rest. No forgotten sample is ever looked at, so
this serves where they are deleted already.

What differs: noise starts at the scale of the inputs, and moves at that scale; the noise and the
retained samples of a step are weighted by a share; BatchNorm stands still while noise passes
through, and long gradients are shortened meanwhile. For classes only, of inputs that are one tensor
of floating-point numbers.

It costs ``moves`` passes of the noise a class, then a forward and backward pass of noise and of a
retain batch a step, for ``impair`` epochs, and of the retain set an epoch of ``repair``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from expunge.descending import Descent, balance, epochs, mean_loss
from expunge.errors import BadSetting
from expunge.looking import inputs_of
from expunge.method import Case, Method, learning
from expunge.request import Classes, Target
from expunge.stopping import removed
from expunge.tasks import Batch, Kind

_DECAY = 0.1  # as published: of the noise's mean square, in the loss that it climbs


@dataclass(frozen=True)
class Unsir(Method):
    """Impair a class by noise that the model finds least like it, and repair the rest.

    Eight fields, since the noise has a training of its own.
    """

    handles: ClassVar[tuple[type[Target], ...]] = (Classes,)
    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    noise: int = 64  # pieces of noise for each class
    moves: int = 40  # steps in which they learn
    impair: float = 1.0  # passes over the retain set beside which the noise is taught
    share: float = 0.03  # of the noise in the loss
    repair: int = 5  # passes over the retain set, afterwards
    lr: float = 0.05  # learning rate of SGD, constant
    momentum: float = 0.9  # of SGD
    clip: float = 2.0  # a longer gradient is shortened to this norm; 0: none is

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        if not self.noise:
            raise BadSetting("noise is 0", hint="learn some pieces: 64.")
        descent = Descent.of(model, case, lr=self.lr, momentum=self.momentum, clip=self.clip)
        given = [(self._learnt(model, case, label), label) for label in removed(case)]

        def away(piece: tuple[Batch, int]) -> Float[Tensor, ""]:
            return _unlike(case.task.answer(model, piece[0]).logits, piece[1])

        balance(
            descent, _pieces(given), away=away, stay=mean_loss(model, case),
            steps=ceil(self.impair * len(case.retain)), share=self.share,
        )  # fmt: skip
        epochs(replace(descent, clip=0.0), self.repair, mean_loss(model.train(), case))
        return model

    def _learnt(self, model: nn.Module, case: Case, label: int) -> Batch:
        """A batch of noise that the model takes for anything but this class."""
        like = case.retain.take(case.retain.part.indices[: self.noise])
        x = inputs_of(case.task, like, need="noise can be learnt only for")
        weights, scale = learning(model), x.std().clamp_min(1e-6)
        noise = torch.randn_like(x).requires_grad_()  # in deviations of the inputs
        optimizer = Adam([noise], lr=0.1)
        for weight in weights:
            weight.requires_grad = False
        for _ in range(self.moves):
            logits = case.task.answer(model, case.task.with_inputs(like, scale * noise)).logits
            loss = _DECAY * noise.square().mean() - _unlike(logits, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for weight in weights:
            weight.requires_grad = True
        return case.task.with_inputs(like, (scale * noise).detach())


def _unlike(logits: Float[Tensor, "n c"], label: int) -> Float[Tensor, ""]:
    """How little these answers are like a class: the loss of its label."""
    return F.cross_entropy(logits, torch.full((len(logits),), label, device=logits.device))


def _pieces(given: list[tuple[Batch, int]]) -> Iterator[tuple[Batch, int]]:
    """The noise of every class in turn, again and again."""
    while given:
        yield from given
