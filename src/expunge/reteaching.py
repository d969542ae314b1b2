"""Teach models again what they have forgotten, and count the steps until they know it.

A copy of the whole network learns from a few forgotten samples with samples that stay beside them,
and sits an exam every few steps. What is asked is how right it is about what was forgotten, less
how often it says so of what was not: who calls everything by one name knows nothing. Small copies
of one model learn side by side: their steps cost hardly more than those of one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import inf
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import SGD, Adam, Optimizer

from expunge.accounting import accounted
from expunge.batching import Batches, data_digest, is_resident
from expunge.exams import Exam, Marks, Rows, answered
from expunge.observing import device_of, evaluating
from expunge.remembering import Notebook
from expunge.representing import drawing, thawed
from expunge.seeding import seeded
from expunge.splitting import Data, Part, rooted
from expunge.stack import NOT_STACKED, Stack
from expunge.storing import digest_json, digest_tensors, digest_text
from expunge.tasks import Batch, Task
from expunge.tasks.reading import mapped, moved

log = logging.getLogger("expunge")

_SMALL = 100_000  # parameters: larger models spend their time within operations, not between them

_TRIED = 6  # steps in which a stack is held beside one copy
_ALIKE = 1e-3  # of the largest logit: copies side by side may differ by so much from one alone

Times = Float[Tensor, " r"]
"""Steps of every run; infinite where it did not come so far."""

Runs = Mapping[str, Times]
"""The same, by what was asked about."""

Pupil = tuple[object, Callable[[], nn.Module]]
"""Whose model it is, and how it is had."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a model is taught: a small training run, the same for every model."""

    known: int  # forgotten samples that are learnt from, at most
    replay: int  # samples that stay, for each of them
    steps: int
    batch: int
    optimizer: Literal["adam", "sgd"]
    lr: float
    every: int  # steps between two exams

    def optimiser(self, learning: Sequence[Tensor]) -> Optimizer:
        """What takes the steps."""
        return (Adam if self.optimizer == "adam" else SGD)(learning, lr=self.lr, fused=True)

    def draws(self, gone: Rows, kept: Rows, run: int) -> Int[Tensor, "s b"]:
        """Who is learnt from in every step of a run: some that left, some that stay beside them."""
        with drawing(run):
            some = gone[torch.randperm(len(gone))[: self.known]]
            beside = kept[torch.randperm(len(kept))[: self.replay * len(some)]]
            pool = torch.cat([some, beside])
            return pool[torch.randint(len(pool), (self.steps, self.batch))]


@dataclass(frozen=True, slots=True, eq=False)
class _Alone:
    """One copy."""

    model: nn.Module
    task: Task
    reader: Batches
    optimizer: Optimizer

    @classmethod
    def of(cls, model: nn.Module, lesson: "Lesson") -> "_Alone":
        copy = thawed(model)
        optimizer = lesson.course.optimiser([p for p in copy.parameters() if p.requires_grad])
        return cls(copy, lesson.task, lesson.reader(device_of(copy)), optimizer)

    def answers(self, batch: Batch) -> Float[Tensor, "k n c"]:
        return answered(self.model, self.task, batch)[None]

    def learn(self, ids: Int[Tensor, "k b"]) -> None:
        loss = self.task.loss(self.model.train(), self.reader.take(ids[0])).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


@dataclass(frozen=True, slots=True, eq=False)
class _Abreast:
    """Several copies in a stack."""

    stack: Stack
    reader: Batches
    optimizer: Optimizer

    @classmethod
    def of(cls, model: nn.Module, count: int, lesson: "Lesson") -> "_Abreast":
        stack = Stack.of([thawed(model) for _ in range(count)], lesson.task)
        optimizer = lesson.course.optimiser([*stack.learning.values()])
        return cls(stack, lesson.reader(device_of(model)), optimizer)

    def answers(self, batch: Batch) -> Float[Tensor, "k n c"]:
        with evaluating(self.stack.asked):
            return self.stack.logits(moved(batch, self.reader.device))

    def learn(self, ids: Int[Tensor, "k b"]) -> None:
        batch = mapped(self.reader.take(ids.flatten()), lambda leaf: leaf.unflatten(0, ids.shape))
        evenly = torch.full(ids.shape, 1 / ids.shape[1], device=self.reader.device)
        self.optimizer.zero_grad()
        self.stack.losses(batch, evenly).sum().backward()
        self.optimizer.step()


_Pupils = _Alone | _Abreast
"""Copies of a model that learn together, each from what it draws."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What is taught, out of a training set, and how far is far enough."""

    course: Course
    task: Task
    source: Data
    gone: Rows
    kept: Rows
    exam: Exam
    goals: Marks

    def runs(self, model: nn.Module, count: int) -> Runs:
        """Teach copies of a model several times."""
        draws = [self.course.draws(self.gone, self.kept, run) for run in range(count)]
        if count > 1 and self._stacks(model):
            try:
                together = torch.stack(draws)
                if self._agrees(model, together[:2]):
                    return self._taught(_Abreast.of(model, count, self), together)
            except NOT_STACKED as why:
                log.info("copies are not taught side by side: %s", why)
        found = []
        for run, rows in enumerate(draws):
            with drawing(run):
                found.append(self._taught(_Alone.of(model, self), rows[None]))
        return {which: torch.cat([run[which] for run in found]) for which in self.goals}

    def runs_of(self, pupils: Sequence[Pupil], count: int, notebook: Notebook) -> Sequence[Runs]:
        """The same for models that are asked again beside the next one: they are taught once."""
        owners = [owner for owner, _ in pupils]
        weights = [digest_tensors(o.state_dict()) for o in owners if isinstance(o, nn.Module)]
        asked = digest_text(self._digest, str(count), *weights)  # weights may change in place
        return notebook.once(
            f"relearning, {self.exam.name}",
            (asked, self.source, self.exam.source, self.task, *owners),
            lambda: self._found(pupils, count, notebook),
        )

    def _found(self, pupils: Sequence[Pupil], count: int, notebook: Notebook) -> Sequence[Runs]:
        """The same for other processes too, if the notebook is on disk."""
        if notebook.folder is None:
            return [self.runs(load(), count) for _, load in pupils]
        versions = [*map(version, ("expunge", "torch"))]
        with seeded(0):  # data with random transforms draw numbers
            told = [self._digest, *map(data_digest, (self.source, self.exam.source))]

        def noted(model: nn.Module) -> Runs:
            made = [count, accounted(self.task), accounted(model), str(device_of(model)), versions]
            asked = digest_text(*told, digest_tensors(model.state_dict()), digest_json(made))
            return notebook.written(asked, lambda: self.runs(model, count))

        return [noted(load()) for _, load in pupils]

    @property
    def _digest(self) -> str:
        plain = [asdict(self.course), dict(self.goals), self.exam.name, list(self.exam.removed)]
        asked = {"gone": self.gone, "kept": self.kept, "asked": self.exam.ids}
        return digest_text(digest_json(plain), digest_tensors(asked))

    def reader(self, device: torch.device) -> Batches:
        """What gives samples of the training set to a model there."""
        return Batches(Part.whole(self.source), device=device)

    def _taught(self, pupils: _Pupils, draws: Int[Tensor, "k s b"]) -> Runs:
        """Steps until each knows it; infinite where it does not by the end."""
        runs, steps, _ = draws.shape
        reached = {name: torch.full((runs,), inf).double() for name in self.goals}
        for step in range(steps + 1):
            if step % self.course.every == 0 or step == steps:
                marks = self.exam.marked(pupils.answers, self.goals)
                for name, goal in self.goals.items():
                    reached[name][(marks[name] >= goal) & reached[name].isinf()] = step
                if all(times.isfinite().all() for times in reached.values()):
                    break
            if step < steps:
                with torch.enable_grad():
                    pupils.learn(draws[:, step])
        return reached

    def _agrees(self, model: nn.Module, draws: Int[Tensor, "k s b"]) -> bool:
        """Whether the first of two copies side by side does as one by itself, for some steps.

        They draw from other seeds: what draws without torch's knowledge would not be found else.
        """
        abreast, alone = _Abreast.of(model, 2, self), _Alone.of(model, self)
        for step in range(_TRIED):
            with seeded(step), torch.enable_grad():
                one = abreast.answers(self.exam.batches[0])[0]
                abreast.learn(draws[:, step])
            with seeded(step + _TRIED), torch.enable_grad():
                other = alone.answers(self.exam.batches[0])[0]
                alone.learn(draws[:1, step])
            if (one - other).abs().max() > _ALIKE * (1 + other.abs().max()):
                log.info("copies are not taught side by side: they do not learn alike")
                return False
        return True

    def _stacks(self, model: nn.Module) -> bool:
        """Whether copies are learnt faster side by side, and may be."""
        root, _ = rooted(self.source, self.gone[:0])
        parameters = [*model.parameters()]
        plain = all(p.is_floating_point() for p in parameters) and not [*model.buffers()]
        convolves = any(isinstance(module, _ConvNd) for module in model.modules())
        small = sum(p.numel() for p in parameters) <= _SMALL
        return plain and small and not convolves and is_resident(root)
