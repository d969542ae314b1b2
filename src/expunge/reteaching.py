"""Teach models again what they have forgotten, and count the steps until they know it.

A copy of the whole network learns from a few forgotten samples with samples that stay beside them,
and sits an exam every few steps. What is asked is how right it is about what was forgotten, less
how often it says so of what was not: who calls everything by one name knows nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from expunge.algebra.sampling import drawn
from expunge.batching import Batches
from expunge.observing import Observation, device_of, evaluating
from expunge.remembering import Notebook
from expunge.representing import drawing, thawed
from expunge.splitting import Data, Part
from expunge.storing import digest_json, digest_tensors, digest_text
from expunge.tasks import Batch, Task
from expunge.tasks.reading import moved

_AT_ONCE = 128  # samples of a pass

Marks = Mapping[str, float]
"""How right a model is, by what it is asked about."""

Times = Float[Tensor, " r"]
"""Steps of every run; infinite where it did not come so far."""

Runs = Mapping[str, Times]
"""The same, by what was asked about."""

Pupil = tuple[object, Callable[[], nn.Module]]
"""Whose model it is, and how it is had."""

Rows = Int[Tensor, " _"]


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

    def optimiser(self, model: nn.Module) -> Optimizer:
        """What takes the steps."""
        kinds: dict[str, type[Adam | SGD]] = {"adam": Adam, "sgd": SGD}
        learning = [p for p in model.parameters() if p.requires_grad]
        return kinds[self.optimizer](learning, lr=self.lr)

    def pool(self, gone: Rows, kept: Rows) -> Rows:
        """The samples of one run, drawn from those that left and from those that stay."""
        some = gone[torch.randperm(len(gone))[: self.known]]
        beside = kept[torch.randperm(len(kept))[: self.replay * len(some)]]
        return torch.cat([some, beside])


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """Samples that tell how far a model has come, in batches."""

    source: Data
    batches: tuple[Batch, ...]
    ids: Rows
    labels: Rows
    removed: tuple[int, ...]  # classes that left; none: single samples did
    name: str  # of all that is asked

    @classmethod
    def about(
        cls, source: Data, asked: Observation, removed: tuple[int, ...], name: str, most: int
    ) -> "Exam":
        """An exam on at most so many samples of what left, and as many of what stays."""
        gone = torch.isin(asked.labels, torch.tensor(removed).long())
        sides = (asked.only(gone), asked.only(~gone))
        seen = [side.only(drawn(side.ids, most)) for side in sides]
        ids, labels = (torch.cat([getattr(x, what) for x in seen]) for what in ("ids", "labels"))
        reader = Batches(Part(source, ids))
        batches = tuple(map(reader.take, ids.split(_AT_ONCE)))
        return cls(source, batches, ids, labels, removed, name)

    @torch.no_grad()
    def marks(self, model: nn.Module, task: Task) -> Marks:
        """Share of right answers, less the share of false alarms; for each class, if several."""
        device = device_of(model)
        with evaluating(model):
            answers = [task.answer(model, moved(batch, device)).logits for batch in self.batches]
        said = torch.cat(answers).argmax(1).cpu()
        if not self.removed:
            return {self.name: _share(said == self.labels)}
        found = {self.name: self._mark(said, self.removed)}
        for label in self.removed if len(self.removed) > 1 else ():
            found[f"removed class {label}"] = self._mark(said, (label,))
        return found

    def _mark(self, said: Rows, classes: tuple[int, ...]) -> float:
        among, stays = (torch.tensor(each).long() for each in (classes, self.removed))
        inside, kept = torch.isin(self.labels, among), ~torch.isin(self.labels, stays)
        return _share((said == self.labels)[inside]) - _share(torch.isin(said[kept], among))


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
        found = [self.taught(model, run) for run in range(count)]
        return {which: torch.tensor([run[which] for run in found]).double() for which in self.goals}

    def runs_of(self, pupils: Sequence[Pupil], count: int, notebook: Notebook) -> list[Runs]:
        """The same for models that are asked again beside the next one: they are taught once."""
        owners = [owner for owner, _ in pupils]
        weights = [digest_tensors(o.state_dict()) for o in owners if isinstance(o, nn.Module)]
        asked = digest_text(self._digest, str(count), *weights)  # weights may change in place
        return notebook.once(
            f"relearning, {self.exam.name}",
            (asked, self.source, self.exam.source, self.task, *owners),
            lambda: [self.runs(load(), count) for _, load in pupils],
        )

    @property
    def _digest(self) -> str:
        plain = [asdict(self.course), dict(self.goals), self.exam.name, list(self.exam.removed)]
        asked = {"gone": self.gone, "kept": self.kept, "asked": self.exam.ids}
        return digest_text(digest_json(plain), digest_tensors(asked))

    def taught(self, model: nn.Module, run: int) -> dict[str, float]:
        """Steps until a copy knows it; infinite where it does not by the end."""
        with drawing(run), torch.enable_grad():
            pupil, reached = thawed(model), dict.fromkeys(self.goals, inf)
            for step in self._steps(pupil):
                marks = self.exam.marks(pupil, self.task)
                for name, goal in self.goals.items():
                    if marks[name] >= goal:
                        reached[name] = min(reached[name], float(step))
                if inf not in reached.values():
                    break
        return reached

    def _steps(self, pupil: nn.Module) -> Iterator[int]:
        """Train, and stop for an exam before the first step and every few steps."""
        course, optimizer = self.course, self.course.optimiser(pupil)
        pool = course.pool(self.gone, self.kept)
        reader = Batches(Part(self.source, pool), device=device_of(pupil))
        for step in range(course.steps):
            if step % course.every == 0:
                yield step
            batch = reader.take(pool[torch.randint(len(pool), (course.batch,))])
            pupil.train()
            loss = self.task.loss(pupil, batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield course.steps


def _share(of: Tensor) -> float:
    return of.double().mean().item()
