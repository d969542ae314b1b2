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
wrong, and a quarter more. The rest a retrained model would get right as well, and drawing them
costs unseen samples dearly; the published way is ``drawn=1.0``. Samples with ``targets`` of their
own are all drawn, until called by them. The pull grows by half after 100, 200 and
300 steps, lest it be held in balance by what stays.

By scenario: where classes leave, the rate rises to 0.002 in 100 steps, BatchNorm is frozen, a look
every 10 steps must find the goal reached twice; where single samples leave, it rises to 0.0005 in
30 steps, BatchNorm normalises by the joint batch, and one look in 30 steps is enough. Without
``epochs`` the forgetting takes 1,000 steps at most, or five epochs where no validation data tell
when single samples are done with.

It costs one forward pass over some retained samples (500 a class) and over the forget set, one
joined forward and backward pass a step, and a look at up to 2,000 forgotten and as many unseen
samples (2,500 where single ones leave), about as much as the steps between two looks. What moves
embeddings can also merely hide a class: look at the class probe.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from math import ceil
from typing import ClassVar, Literal

from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from expunge.algebra.geometry import ROWWISE, Metric
from expunge.batching import Batches
from expunge.descending import cosine
from expunge.errors import BadSetting
from expunge.method import Case, Method, learning
from expunge.observing import untraced
from expunge.request import Classes
from expunge.splitting import Part
from expunge.steering import Course, Targets, plotted
from expunge.stopping import ENOUGH, Look, Watch
from expunge.tasks import Batch, Kind

Policy = Literal["frozen", "joint", "separate"]

_SLACK = 1.25  # more single samples are drawn than must go: not all of them follow
_GROWTH, _RISES = 1.5, 3  # of the pull, and how often
_PATIENCE = 100  # steps after which the pull grows: what stays may hold it in balance
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


# More fields than most methods have: the published one has that many dials, and each matters.
@dataclass(frozen=True)
class Duck(Method):
    """Draw forget embeddings to the nearest wrong class centroid, and hold the rest in place."""

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
    batch_norm: Policy | None = None  # frozen: evaluation mode, no dropout; None: by scenario
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
        walk.aim(start)
        done = walk.move(start)
        walk.tell()
        if course is not None and self.retain_weight and self.recovery:
            walk.recover(done=done)
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
        wrong = [name for name in positive if getattr(self, name) == 0]
        if wrong:
            raise BadSetting(f"{wrong[0]} is 0", hint="it must be positive.")
        if pace.batch_norm == "separate" and len(case.forget.part) == 1:
            raise BadSetting(
                "batch_norm is separate, but one forget sample has no statistics of its own",
                hint="use batch_norm=frozen, or joint.",
            )

    def _plotted(self, model: nn.Module, case: Case) -> Course:
        return plotted(
            model, case, distance=self.distance, enough=self.per_class, targets=self.targets
        )


@dataclass(slots=True, eq=False)
class _Walk:
    """One run: the model on its way, and all that guides it."""

    how: Duck
    pace: _Pace
    model: nn.Module
    case: Case
    course: Course | None  # None: nothing is drawn anywhere, and what is left is fine-tuning
    watch: Watch
    optimizer: Adam
    share: float = 1.0  # of single samples that are drawn
    epochs: int = 0

    @property
    def part(self) -> Part:
        """Whom to draw: all of a class, and of many single samples those nearest to going."""
        part = self.case.forget.part
        if self.course is None or self.share >= 1:
            return part
        return Part(part.source, self.course.nearest(max(1, ceil(self.share * self._single))))

    @property
    def blind(self) -> bool:
        """Whether nothing tells when the goal is reached."""
        return self.course is not None and self.watch.blind(self.course.own)

    def aim(self, start: Look) -> None:
        """Draw as many single samples as unseen data get wrong, and a few more."""
        usual = 1.0 if self.blind else _SLACK * start.missed
        share = usual if self.how.drawn is None else self.how.drawn
        self.share = min(1.0, share) if self._single >= ENOUGH else 1.0

    def move(self, start: Look) -> bool:
        """Stage one: draw towards the targets until the goal is reached; say whether it was."""
        how, pace, report, optimizer = self.how, self.pace, self.case.report, self.optimizer
        rise = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1, pace.warmup)))
        staying = replace(self.case.retain, size=how.batch * how.retain_per_forget).endless()
        batches = len(self._leaving())
        self.epochs = how.epochs or self._usual_epochs(batches)
        report.total = batches * self.epochs
        held, steps = 0, range(1, report.total + 1)
        for step, visit, kept in zip(steps, self._visits(), staying, strict=False):
            distance, loss = self._losses(visit, kept)
            pull = how.distance_weight * _GROWTH ** min(step // _PATIENCE, _RISES)
            self._descend(optimizer, pull * distance + how.retain_weight * loss)
            rise.step()
            if step % pace.check_every and step != report.total:
                continue
            seen = self.watch.look(self.model, step)
            held = held + 1 if seen.done else 0
            if held == pace.hold or (seen.done and step == report.total):
                report.note(f"the goal was reached at step {step:,}")
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

    def recover(self, *, done: bool) -> None:
        """Stage two: mend what stays, never so far that the forgotten comes back."""
        how, report = self.how, self.case.report
        good, last, optimizer = deepcopy(self.model.state_dict()), 0, self.optimizer
        first = how.recovery_lr / self.pace.lr
        fall = LambdaLR(optimizer, lambda step: first * cosine(step / how.recovery))
        steps = range(1, how.recovery + 1)
        staying = replace(self.case.retain, size=how.recovery_batch).endless()
        for step, visit, kept in zip(steps, self._visits(), staying, strict=False):
            distance, loss = self._losses(visit, how.augment(kept) if how.augment else kept)
            self._descend(optimizer, loss + how.recovery_pull * how.distance_weight * distance)
            fall.step()
            if not done or (step % self.pace.check_every and step != how.recovery):
                continue
            if self.watch.look(self.model, len(report.traces["loss"])).done:
                good, last = deepcopy(self.model.state_dict()), step
        if done and last < how.recovery:
            self.model.load_state_dict(good)
            report.note(f"recovery was taken back to step {last}: more would have undone the goal")

    def tell(self) -> None:
        """Say what stood in for every setting that was left open, and who was drawn."""
        report, everybody, part = self.case.report, self.case.forget.part, self.part
        used = {"epochs": self.epochs, "drawn": self.share} | asdict(self.pace)
        report.settled({k: v for k, v in used.items() if getattr(self.how, k, 0) is None})
        if len(part) < len(everybody):
            report.note(
                f"{len(part):,} of {len(everybody):,} forget samples were drawn, those nearest to "
                f"going; the others a retrained model would probably get right as well"
            )

    @property
    def _single(self) -> int:
        return 0 if self.course is None else int(self.course.single.sum())

    def _leaving(self) -> Batches:
        return replace(self.case.forget, part=self.part, size=self.how.batch)

    def _visits(self) -> Iterator[tuple[Int[Tensor, " n"], Batch]]:
        """Everybody who is drawn, epoch by epoch."""
        return (visit for _ in repeat(None) for visit in self._leaving().indexed())

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
        with untraced(self.model):
            features = task.answer(self.model, batch).embedding
        return features, task.answer(self.model, kept).logits

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float() / self.how.temperature, labels)

    def _descend(self, optimizer: Adam, loss: Tensor) -> None:
        self.case.report.step(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
