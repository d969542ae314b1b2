"""Detachment: features are charged for what critics read out of them, until they tell no more.

After Guo, Guo, Zhang, Xu and Wang, "Efficient Attribute Unlearning: Towards Selective Removal of
Input Attributes from Feature Representations", 2022. Of the inputs much is to be kept, of the task
all, and of an attribute nothing that the task does not tell. Only the abstract and the coefficients
of the objective were open to us: the rest is a reconstruction.

What differs. Weights are three, each in units of what there is to know; the paper's alpha, beta and
gamma are understood as ``paper``. What is removed is what features tell *beyond the label*, because
the rest cannot go without the task. The charge is never a loss that a critic helps to raise. It is
made of an upper bound (vCLUB), which is heeded in proportion to what the critic knows: one that
knows nothing moves nothing, and what is charged is less than the bound. Critics have an optimizer
of their own, several steps to each one of the model, and start anew in turn. An erasure in closed
form, before the head, takes at once what affine probes read, and is estimated anew after every
epoch; the critics shut the rest. Towards the end the learning rate stays where it is, so that
critics are not left behind. A held-out probe, and no critic, chooses the epoch. The original's
answers are to be kept without what they tell of the attribute.

With ``cuts`` the model falls into modules, each trained by a loss of its own: no gradient passes,
and memory is needed for one module at a time.

An epoch costs one pass forward and backward of every retained sample, one forward of up to 6,000 of
them, small networks, and a look at up to 6,000 validation samples. What the layers before the
features know is not touched: whoever fine-tunes them may find it again.
"""

from dataclasses import dataclass, replace
from functools import partial
from math import cos, pi
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import SGD

from expunge.detaching.bottleneck import Bottleneck, narrowed
from expunge.detaching.choosing import Choice
from expunge.detaching.critics import Training
from expunge.detaching.cutting import Cuts, cuts
from expunge.detaching.distilling import Original
from expunge.detaching.holding import Aim, Depth, Estimator
from expunge.detaching.remembering import losses
from expunge.detaching.surveying import Condition, Survey, survey
from expunge.detaching.weighing import Weights, ramp
from expunge.erasing import HELD, Views
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.request import Attribute, Target
from expunge.tasks import Batch

_MOMENTUM, _DECAY = 0.9, 5e-4
_WARM, _COOL, _LAST = 0.05, 0.6, 0.1  # shares of the run, and of the rate that stays at its end
_RISE = 0.3  # of the run, until the attribute is pushed out at full strength
_STEEPEST = 1.0  # an erasure may stretch slopes tenfold, and that would be the end of the features
_LOOKS = 20  # of held-out probes at a run, however many epochs it has
_FEW = 4  # samples that show where a model can be cut


# More fields than most methods have: the objective, the critics and the cuts each need their own.
@dataclass(frozen=True)
class Detach(Method):
    """Fine-tune until critics cannot tell an attribute from the features beyond the task."""

    handles: ClassVar[tuple[type[Target], ...]] = (Attribute,)
    reshapes: ClassVar[bool] = True
    half: ClassVar[bool] = True

    epochs: int = 10  # passes over the retain set
    lr: float = 0.02  # learning rate of SGD at its highest
    batch: int = 128  # retained samples in a step
    strength: float = 1.0  # of the removal, in shares of what there is to know of the attribute
    keep_x: float = 0.5  # of the inputs, by a decoder that is told the attribute
    keep_y: float = 0.5  # of the task; the loss of the task itself sets the scale
    paper: tuple[float, float, float] | None = None  # alpha, beta, gamma; None: the weights above
    estimator: Estimator = "vclub"  # of what is known of the attribute
    condition_on: Condition = "task"  # task: what the label tells may stay
    erase: bool = True  # in closed form before the head, estimated anew after every epoch
    carry: int | None = 0  # directions that erased features keep beside the task's; None: all
    views: Views | None = None  # what steps and erasure see in place of batches; None: batches
    distil: float = 0.5  # of the original's answers
    cuts: int | tuple[str, ...] = 0  # how many, or after which layers, where no gradient passes
    critics: int = 3  # of every attribute, at every depth
    critic_steps: int = 3  # of each of them, to each one of the model
    critic_lr: float = 2e-3  # learning rate of their Adam
    renew: int = 200  # steps after which another critic starts anew; 0: never
    floor: float = 0.01  # accuracy that the epoch that is kept may have lost

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        learning(model)
        walk = _Walk.begun(self, model, case)
        for epoch in range(1, self.epochs + 1):
            walk.learn(epoch)
        walk.settle()
        walk.tell()
        return walk.model

    @property
    def aim(self) -> Aim:
        """What is asked of the features."""
        own = self.keep_x, self.keep_y, self.strength
        weights = Weights(*own) if self.paper is None else Weights.of_paper(*self.paper)
        if 0 in (self.epochs, self.lr, self.batch):
            raise BadSetting(
                f"epochs = {self.epochs}, lr = {self.lr}, batch = {self.batch}",
                hint="each must be positive.",
            )
        training = Training(self.critics, self.critic_steps, self.critic_lr, self.renew)
        return Aim(weights, self.estimator, training)


@dataclass(slots=True, eq=False)
class _Walk:
    """One run: the model on its way, and all that guides it."""

    how: Detach
    case: Case
    survey: Survey
    model: nn.Module
    original: Original | None  # None: nobody asks what it said
    bottleneck: Bottleneck | None  # None: nothing is erased in closed form
    choice: Choice
    cuts: Cuts
    depths: list[Depth]  # those of the cuts, then that of the features
    optimizer: SGD
    steps: int = 0

    @classmethod
    def begun(cls, how: Detach, model: nn.Module, case: Case) -> "_Walk":
        """Ask the original, find the cuts, and erase."""
        found, aim = survey(case, how.condition_on), how.aim
        original = Original.of(model, case, found) if how.distil else None
        choice, parts = Choice.of(model, case, found, how.floor), _divided(model, case, how.cuts)
        shares = [(k + 1) / (len(parts) + 1) for k in range(len(parts))]
        depths = [Depth(found, aim, at=share, answers=parts.answers) for share in shares]
        bottleneck = None
        if how.erase:
            model, bottleneck = narrowed(model, case, found, how.carry, views=how.views)
        if bottleneck:
            choice.consider(model, 0)
        optimizer = SGD(learning(model), lr=how.lr, momentum=_MOMENTUM, weight_decay=_DECAY)
        depths.append(Depth(found, aim))
        case.report.total = how.epochs * len(replace(case.retain, size=how.batch))
        return cls(how, case, found, model, original, bottleneck, choice, parts, depths, optimizer)

    def learn(self, epoch: int) -> None:
        """One epoch, and what follows it."""
        for ids, batch in replace(self.case.retain, size=self.how.batch).indexed():
            self.step(ids, batch)
        if self.bottleneck:
            self.bottleneck.renew(self.model)
        due = epoch % max(1, self.how.epochs // _LOOKS) == 0 or epoch == self.how.epochs
        if due and (self.bottleneck or self.steps >= self._rise):
            self.choice.consider(self.model, epoch)

    def settle(self) -> None:
        """Go back to the epoch that is kept; erase from all samples, and fit the head again."""
        self.choice.restore(self.model)
        if self.bottleneck:
            self.model = self.bottleneck.settle(self.model)

    def tell(self) -> None:
        """Say what was done, which epoch was kept, what is still known, and what it cost."""
        note, how, census = self.case.report.note, self.how, self.survey.census
        for one in census.answers:
            note(one.told(census.y))
        if self.bottleneck:
            note(f"{self.bottleneck.told} {self.bottleneck.place}")
            if self.bottleneck.held:
                note(f"{HELD}: {self.bottleneck.held}")
        if len(self.cuts):
            note(f"no gradient passed after {', '.join(map(repr, self.cuts.layers))}")
        for name, bits in self.depths[-1].knew(self.steps // how.epochs).items():
            note(f"in the last epoch critics knew {bits:.3f} bits of {name!r} beyond the class")
        self.choice.tell(self.model, how.epochs)
        note(
            f"cost: {how.epochs} epochs of a pass forward and backward, {how.critic_steps} steps "
            f"of {how.critics} small critics to each of the model, and after each epoch a pass "
            f"forward of some samples"
        )

    @property
    def _rise(self) -> int:
        return round(_RISE * self.case.report.total)

    def step(self, ids: Int[Tensor, " n"], batch: Batch) -> None:
        task, report, share = self.case.task, self.case.report, ramp(self.steps, self._rise)
        if self.how.views is not None:
            batch = self.how.views(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.how.lr * _rate(self.steps / report.total)
        self.model.train()
        self.optimizer.zero_grad()  # before the pass: at a cut, a module descends on the way
        with self.cuts.open(partial(self._local, batch, share)):
            answer = task.answer(self.model, batch)
        loss = losses(task, answer.logits, batch).mean()
        loss = loss + self.depths[-1].loss(answer.embedding, batch, share)
        if self.original is not None:
            loss = loss + self.how.distil * self.original.apart(answer.logits, ids)
        report.step(loss)
        loss.backward()
        nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], _STEEPEST)
        self.optimizer.step()
        self.steps += 1
        for name, bits in self.depths[-1].known.items():
            report.trace(_known(name), self.steps, bits)

    def _local(self, batch: Batch, share: float, k: int, features: Tensor) -> None:
        """The loss of a module that ends at a cut, and its own backward pass."""
        loss = self.depths[k].loss(features, batch, share)
        if loss.requires_grad:
            loss.backward()


def _divided(model: nn.Module, case: Case, wanted: int | tuple[str, ...]) -> Cuts:
    if not wanted:
        return Cuts({}, torch.Size())
    return cuts(model, case.task, case.retain.take(case.retain.part.indices[:_FEW]), wanted)


def _known(name: str) -> str:
    return f"bits of {name} that critics know"


def _rate(share: float) -> float:
    """The learning rate, as a share of its highest: it rises, falls, and stays."""
    if share < _WARM:
        return (share + 1e-3) / (_WARM + 1e-3)
    fall = min(1.0, (share - _WARM) / (_COOL - _WARM))
    return _LAST + (1 - _LAST) * (1 + cos(pi * fall)) / 2
