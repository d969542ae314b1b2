"""DUCK: move what must go to the nearest centroid of another class.

Cotogni, Bonato, Sabetta, Pelosin and Nicolosi, "DUCK: Distance-based Unlearning via Centroid
Kinematics", 2023. The mean embedding of every retained class is a centroid. Each forget sample is
drawn towards the nearest one that is not of its own class, while cross-entropy on retained samples
holds the rest in place; a recovery at a small learning rate follows.

What differs. Centroids and targets are computed once, before the first step, sample by sample, so
that no sample ever follows the target of another. Forget and retain samples share one forward
pass, and whatever is drawn is visited in every epoch. The learning rate rises from nothing: the
first steps of Adam at full rate wreck a large network. Looking happens every few steps and on
*validation* data, never on the test set. Recovery counts steps, keeps the optimizer's state, and
ends before it would bring the forgotten back.

Of fifty single samples or more, only those nearest to going are drawn: as many as unseen data get
wrong, and a few more. The rest a retrained model would get right as well, and drawing them costs
unseen samples dearly; ``drawn=1.0`` is the published way. Samples with ``targets`` of their own
(mislabelled, poisoned) are all drawn, and done with once they are called by them.

By scenario: where classes leave, the rate rises to 0.002 in 100 steps, BatchNorm is frozen, a look
every 10 steps must find the goal reached twice; where single samples leave, it rises to 0.0005 in
30 steps, BatchNorm normalises by the joint batch, and one look in 30 steps is enough. Without
``epochs`` the forgetting takes 1,000 steps at most, or five epochs where no validation data tell
when single samples are done with.

It costs one forward pass over some retained samples (500 a class) and over the forget set; then
one joined forward and backward pass a step; and a look asks about up to 2,000 forgotten and 2,000
unseen samples (2,500 each where single samples leave), about as much as the steps between two.
What moves embeddings can also merely hide a class: look at the class probe.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from math import ceil, cos, pi
from typing import Any, ClassVar, Literal

from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from expunge.algebra.geometry import ROWWISE, Metric
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.request import Classes
from expunge.splitting import Part
from expunge.steering import Course, Targets, plotted
from expunge.stopping import ENOUGH, Look, Watch
from expunge.tasks import Batch, Kind

Policy = Literal["frozen", "joint", "separate"]

_SLACK = 1.25  # more single samples are drawn than must go: not all of them follow
_STEPS = 1000  # optimizer steps, at most, where a goal will end them sooner


@dataclass(frozen=True, slots=True)
class _Pace:
    """What suits one scenario and not the other."""

    lr: float
    warmup: int
    check_every: int
    batch_norm: Policy
    hold: int  # looks in a row that must find the goal reached
    most: int  # samples of each part that a look asks about


_FOR_CLASSES = _Pace(lr=2e-3, warmup=100, check_every=10, batch_norm="frozen", hold=2, most=2000)
_FOR_SAMPLES = _Pace(lr=5e-4, warmup=30, check_every=30, batch_norm="joint", hold=1, most=2500)


@dataclass(frozen=True)
class Duck(Method):
    """Draw forget embeddings to the nearest wrong class centroid, and hold the rest in place.

    It has more fields than most: the published method has that many dials, and each matters.
    """

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    half: ClassVar[bool] = True

    epochs: int | None = None  # passes over what is drawn, at most; None: 1,000 steps or 5 epochs
    lr: float | None = None  # learning rate of Adam, once it has risen; None: by scenario
    warmup: int | None = None  # steps in which it rises; None: by scenario
    batch: int = 32  # forget samples in a step
    retain_per_forget: int = 5  # retained samples in a step, for each place of a forget sample
    drawn: float | None = None  # share of single samples to draw; None: what unseen data get wrong
    distance_weight: float = 1.0  # of the distance to the target in the loss
    retain_weight: float = 1.4  # of cross-entropy on retained samples
    temperature: float = 2.0  # logits are divided by it before cross-entropy
    distance: Metric = "cosine"  # between embeddings and centroids
    targets: Targets = None  # the class to move to, for all or by label; None: the nearest
    per_class: int = 500  # retained samples behind a centroid, at least; 0: all
    batch_norm: Policy | None = (
        None  # frozen: evaluation mode, no dropout either; None: by scenario
    )
    check_every: int | None = None  # steps between two looks at the goal; None: by scenario
    goal: float = 0.01  # accuracy at which a class counts as forgotten
    floor: float = 0.05  # accuracy that what stays may lose before the forgetting ends
    recovery: int = 20  # steps that mend what stays, after forgetting; 0: none
    recovery_lr: float = 1e-4  # its learning rate, which falls to zero
    recovery_batch: int = 160  # retained samples in one of its steps
    recovery_pull: float = 1.0  # of the distance in its loss, as a share of its weight before
    augment: Callable[[Batch], Batch] | None = None  # of retained samples in recovery

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        pace = self.pace(case)
        self._check(model, case, pace)
        course = self._plotted(model, case) if self.distance_weight else None
        watch = Watch(case, goal=self.goal, sent=course.sent if course else {}, most=pace.most)
        start = watch.look(model, 0)
        if start.done and course is not None:
            case.report.note("the goal was reached before the first step, so nothing was moved")
            return model
        optimizer = Adam(learning(model), lr=pace.lr)
        walk = _Walk(self, pace, model, case, course, watch, optimizer)
        part = walk.drawn(start)
        done = walk.move(part, start)
        if course is not None and self.retain_weight and self.recovery:
            walk.recover(part, done=done)
        return model

    def pace(self, case: Case) -> _Pace:
        """The scenario's presets, where a user chose nothing."""
        classes = all(isinstance(target, Classes) for target in case.targets)
        preset = _FOR_CLASSES if classes else _FOR_SAMPLES
        chosen = {name: getattr(self, name, None) for name in asdict(preset)}
        return replace(preset, **{k: v for k, v in chosen.items() if v is not None})

    def _check(self, model: nn.Module, case: Case, pace: _Pace) -> None:
        learning(model)
        positive = ("epochs", "lr", "batch", "retain_per_forget", "drawn", "check_every",
                    "temperature")  # fmt: skip
        for name in positive:
            if getattr(self, name) == 0:
                raise BadSetting(f"{name} is 0", hint="it must be positive.")
        if pace.batch_norm == "separate" and len(case.forget.part) == 1:
            raise BadSetting(
                "batch_norm is separate, but one forget sample has no statistics of its own",
                hint="use batch_norm=frozen, or joint.",
            )

    def _plotted(self, model: nn.Module, case: Case) -> Course:
        return plotted(
            model, case, distance=self.distance, enough=self.per_class, targets=self.targets
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """One run: the model on its way, and all that guides it."""

    how: Duck
    pace: _Pace
    model: nn.Module
    case: Case
    course: Course | None  # None: nothing is drawn anywhere, and what is left is fine-tuning
    watch: Watch
    optimizer: Adam

    @property
    def blind(self) -> bool:
        """Whether nothing tells when the goal is reached."""
        return self.course is not None and self.watch.blind(self.course.own)

    def drawn(self, start: Look) -> Part:
        """Whom to draw: all of a class, and of many single samples those nearest to going."""
        part, usual = self.case.forget.part, 1.0 if self.blind else _SLACK * start.missed
        share = usual if self.how.drawn is None else self.how.drawn
        if self.course is None or share >= 1 or (many := int(self.course.single.sum())) < ENOUGH:
            return part
        nearest = self.course.nearest(max(1, ceil(share * many)))
        self.case.report.note(
            f"{len(nearest):,} of {len(part):,} forget samples were drawn, those nearest to going; "
            f"the others a retrained model would probably get right as well"
        )
        return Part(part.source, nearest)

    def move(self, part: Part, start: Look) -> bool:
        """Stage one: draw towards the targets until the goal is reached; say whether it was."""
        how, pace, report = self.how, self.pace, self.case.report
        optimizer = self.optimizer
        rise = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, pace.warmup)))
        leaving = replace(self.case.forget, part=part, size=how.batch)
        staying = replace(self.case.retain, size=how.batch * how.retain_per_forget).endless()
        epochs = how.epochs or self._usual_epochs(len(leaving))
        report.total = epochs * len(leaving)
        visits = (visit for _ in range(epochs) for visit in leaving.indexed())
        held = 0
        for step, (visit, kept) in enumerate(zip(visits, staying, strict=False), 1):
            distance, loss = self._losses(visit, kept)
            self._descend(optimizer, how.distance_weight * distance + how.retain_weight * loss)
            rise.step()
            if step % pace.check_every and step != report.total:
                continue
            seen = self.watch.look(self.model, step)
            held = held + 1 if seen.done else 0
            if held == pace.hold or (seen.done and step == report.total):
                return True
            if seen.kept < start.kept - how.floor:
                report.note(
                    f"stopped at step {step}, before the goal was reached: what stays had lost "
                    f"{start.kept - seen.kept:.1%} of its accuracy"
                )
                return False
        if not self.blind:
            report.note(f"the goal was not reached in {report.total} steps")
        return False

    def recover(self, part: Part, *, done: bool) -> None:
        """Stage two: mend what stays, never so far that the forgotten comes back."""
        how, report = self.how, self.case.report
        good = deepcopy(self.model.state_dict())
        optimizer = self.optimizer
        fall = LambdaLR(
            optimizer,
            lambda step: how.recovery_lr / self.pace.lr * (1 + cos(pi * step / how.recovery)) / 2,
        )
        leaving = replace(self.case.forget, part=part, size=how.batch)
        visits = (visit for _ in repeat(None) for visit in leaving.indexed())
        staying = replace(self.case.retain, size=how.recovery_batch).endless()
        for step, visit, kept in zip(range(1, how.recovery + 1), visits, staying, strict=False):
            distance, loss = self._losses(visit, how.augment(kept) if how.augment else kept)
            self._descend(optimizer, loss + how.recovery_pull * how.distance_weight * distance)
            fall.step()
            if not done or (step % self.pace.check_every and step != how.recovery):
                continue
            if not self.watch.look(self.model, len(report.traces["loss"])).done:
                self.model.load_state_dict(good)
                report.note(f"recovery ended before step {step}: more would have undone the goal")
                return
            good = deepcopy(self.model.state_dict())

    def _usual_epochs(self, batches: int) -> int:
        if not self.blind:
            return ceil(_STEPS / batches)
        self.case.report.note(
            "no validation data: nothing tells how unseen samples are treated, so 5 epochs were "
            "run, whether that is too few or too many"
        )
        return 5

    def _losses(self, visit: tuple[Int[Tensor, " n"], Batch], kept: Batch) -> tuple[Tensor, Tensor]:
        """Mean distance to the targets, and mean cross-entropy of what stays, from one pass."""
        self.model.train(self.pace.batch_norm != "frozen")
        labels = self.case.task.labels(kept).long()
        if self.course is None:
            logits = self.case.task.answer(self.model, kept).logits
            return logits.new_zeros(()), self._entropy(logits, labels)
        features, logits = self._answers(visit[1], kept, len(visit[0]))
        apart = ROWWISE[self.how.distance](features.float(), self.course.of(visit[0]))
        return apart.mean(), self._entropy(logits, labels)

    def _answers(self, batch: Batch, kept: Batch, size: int) -> tuple[Tensor, Tensor]:
        task = self.case.task
        if self.pace.batch_norm != "separate":
            answer = task.answer(self.model, task.join(batch, kept))
            return answer.embedding[:size], answer.logits[size:]
        with _untraced(self.model):
            features = task.answer(self.model, batch).embedding
        return features, task.answer(self.model, kept).logits

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float() / self.how.temperature, labels)

    def _descend(self, optimizer: Adam, loss: Tensor) -> None:
        self.case.report.step(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@contextmanager
def _untraced(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch at hand, and let nothing of it stay in the running statistics."""
    norms: list[Any] = [m for m in model.modules() if getattr(m, "track_running_stats", False)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
