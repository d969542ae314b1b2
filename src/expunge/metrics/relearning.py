"""How soon what was forgotten is learnt again: what was only hidden comes back at once.

A copy of the whole network is trained on a few forgotten samples, with samples that stay beside
them, until it is nearly as right about what was forgotten as the original was. A mask over logits
is off after some steps; a model that never saw the class needs as many as any retrained one. For
removed classes it is asked about *unseen* samples of the class, less how often it takes others for
such: an untrained network that gives everything one name has learnt nothing. For single samples it
is asked about these, and so are the retrained models.

A run that has not come so far when it ends is censored, and never counted as if it had: what is
told is the mean of which no more than ``steps`` counts, and Kaplan and Meier's median. Every model
is tried several times, with other draws of samples and batches, the same ones for all models. That
makes its mean steady, and is no other model: a difference is judged by the spread of retrained
models alone.

The anamnesis index is Chundawat, Tarun, Mandal and Kankanhalli's (Zero-Shot Machine Unlearning,
2023): the model's steps as a share of the references'. Far below one, something was left; far above
one, something else was broken. What differs: false alarms are held against the accuracy; several
references and runs are taken in place of one; and four fifths of the original's marks suffice. At
nine tenths a handful of test samples decides, and retrained models differ three times as much.

It costs up to ``steps`` steps of training a run, for the model, every reference and an untrained
model, and a look at 400 samples every other step; the copies are thrown away. References that were
taught for one method are not taught again for the next.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from expunge.algebra.differences import model_difference
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import Interval, mean_interval
from expunge.algebra.survival import lasting, median, restricted_mean
from expunge.ensembles import References
from expunge.errors import BadSetting, MissingInput
from expunge.exams import Exam
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Snapshot, device_of
from expunge.representing import untrained
from expunge.reteaching import Course, Lesson, Pupil, Runs, Times
from expunge.tasks import Kind

_CLASSES, _SAMPLES = "removed classes", "removed samples"
_ASKED = 200  # samples of what left, and as many of what stays
_UNTRAINED = "untrained"


@dataclass(frozen=True)
class Relearning(Metric):
    """Training steps until what was forgotten is known again, against the references'.

    It has as many fields as a small training run has dials.
    """

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    known: int = 40  # forgotten samples that are learnt from, at most
    replay: int = 9  # samples that stay, for each of them
    steps: int = 400  # of training, at most
    batch: int = 50  # samples of a step
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-3
    share: float = 0.8  # of the original's marks, at which it counts as known again
    every: int = 2  # steps between two looks
    runs: int = 5  # of every model, with other samples and batches
    margin: float = 0.5  # how far from the references' mean, as a share of it, would not matter
    build: Callable[[], nn.Module] | None = None  # makes an untrained model; None: no such anchor

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        self._check()
        forget = trial.after.forget
        if len(forget) == 0:
            raise MissingInput("nobody left the training set, so there is nothing to learn again")
        whole = torch.isin(forget.labels, torch.tensor(trial.after.removed).long())
        for name, ids in ((_CLASSES, forget.ids[whole]), (_SAMPLES, forget.ids[~whole])):
            if len(ids):
                yield from self._told(trial, name, ids.sort().values)

    def _told(self, trial: Trial, name: str, gone: Int[Tensor, " k"]) -> Iterator[Measurement]:
        try:
            lesson = self._lesson(trial, name, gone)
        except MissingInput as why:
            yield Measurement.missing(f"relearning steps, {name}", why.fact)
            return
        found, fresh = self._beside(trial, lesson)
        found[trial.after] = lesson.runs(trial.outcome.after, self.runs)
        for which in lesson.goals:
            times = {seen: runs[which] for seen, runs in found.items()}
            anchor = None if fresh is None else fresh[which]
            told = _Relearnt(self, trial, which, times, anchor)
            yield from told.all() if which == name else (told.steps(),)

    def _beside(self, trial: Trial, lesson: Lesson) -> tuple[dict[Snapshot, Runs], Runs | None]:
        """The runs of retrained models and of the original, and those of an untrained one."""
        before, references = trial.outcome.before, trial.references or References(())
        pupils: list[Pupil] = [(member.load, member.load) for member in references.members]
        pupils.append((before, lambda: before))
        if self.build is not None:
            pupils.append((self.build, lambda: untrained(self.build, device_of(before))))
        found = lesson.runs_of(pupils, self.runs, references.notebook)
        seen = (*trial.snapshots, trial.before)
        return dict(zip(seen, found, strict=False)), found[len(seen)] if self.build else None

    def _lesson(self, trial: Trial, name: str, gone: Int[Tensor, " k"]) -> Lesson:
        """Unseen samples are asked about for classes, and the samples themselves if these left."""
        outcome, seen = trial.outcome, trial.after
        train = outcome.split.retain.source
        if name == _CLASSES:
            _ = seen.test_removed, seen.test_kept  # raises where there is nothing to ask
            exam = Exam.about(outcome.split.test.source, seen.test, seen.removed, name, _ASKED)
        else:
            gone = gone[drawn(gone, self.known)]
            asked = seen.forget.only(torch.isin(seen.forget.ids, gone))
            exam = Exam.about(train, asked, (), name, _ASKED)
        marks = exam.marks(outcome.before, outcome.task)
        if marks[name] <= 0:
            raise MissingInput("the original did not know what left, so it cannot be learnt again")
        course = Course(
            self.known, self.replay, self.steps, self.batch, self.optimizer, self.lr, self.every
        )
        kept = outcome.split.retain.indices
        goals = {which: self.share * mark for which, mark in marks.items()}
        return Lesson(course, outcome.task, train, gone, kept, exam, goals)

    def _check(self) -> None:
        least = min(self.known, self.replay, self.batch - 1, self.every, self.runs - 1)
        if least < 1 or self.steps < self.every or not 0 < self.share <= 1:
            raise BadSetting(
                f"{self.runs} runs of {self.steps} steps of {self.batch} samples, from "
                f"{self.known} and {self.replay} for each of them, can show nothing",
                hint="take two runs and samples or more, and a share between 0 and 1.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Relearnt:
    """What the runs of all models say about one thing that left."""

    metric: Relearning
    trial: Trial
    which: str
    times: Mapping[Snapshot, Times]
    fresh: Times | None  # of an untrained model

    def all(self) -> Iterator[Measurement]:
        yield replace(self.steps(), exhibit=self._curves())
        yield self._median()
        yield Measurement.attempt(f"anamnesis index, {self.which}", self._index)
        yield Measurement.attempt(_BETWEEN + self.which, self._between)

    def steps(self) -> Measurement:
        """Mean steps, of which no more count than were taken."""
        theirs = self._references()
        margin = self.metric.margin * sum(theirs) / len(theirs) if theirs else 0.0
        comparison, control, selftest = self.trial.contrasts(
            lambda seen: self.times[seen].clamp_max(self._most), model_difference, margin
        )
        found = self._interval(self._own)
        return Measurement(
            f"relearning steps, {self.which}",
            found.value,
            "match",
            (found.low, found.high),
            n=self.metric.runs,
            original=self._interval(self.times[self.trial.before]),
            target=theirs,
            comparison=comparison,
            control=control,
            selftest=selftest,
            note=self._circumstances(),
        )

    def _median(self) -> Measurement:
        name, found = f"median relearning steps, {self.which}", _median(self._own)
        if found is None:
            note = f"in half of the runs or more it was not known again after {self._most:g} steps"
            return Measurement(name, None, "match", status="insufficient", note=note)
        theirs = [_median(self.times[seen]) for seen in self.trial.snapshots]
        known = tuple(each for each in theirs if each is not None)
        beyond = len(theirs) - len(known)
        note = f"that of {beyond} references lies beyond {self._most:g}" if beyond else ""
        return Measurement(name, found, "match", n=self.metric.runs, target=known, note=note)

    def _index(self) -> Measurement:
        """Steps as a share of the references'; theirs as a share of the others'."""
        _ = self.trial.compared  # raises where there are none
        theirs, own = self._references(), self._mean(self._own)
        if not sum(theirs):
            raise MissingInput("retrained models know at once what left, so no share can be taken")
        usual, found = sum(theirs) / len(theirs), self.steps()
        near = None if found.comparison is None else found.comparison.difference
        others = [(sum(theirs) - x) / max(1, len(theirs) - 1) or x for x in theirs]
        before = self._mean(self.times[self.trial.before]) / usual
        return Measurement(
            f"anamnesis index, {self.which}",
            own / usual,
            "match",
            (max(0.0, 1 + near.low / usual), 1 + near.high / usual) if near else None,
            n=self.metric.runs,
            target=tuple(x / other for x, other in zip(theirs, others, strict=True)),
            note=f"{own:.0f} steps against {usual:.0f}; the original's index is {before:.2f}",
        )

    def _between(self) -> Measurement:
        if self.fresh is None:
            raise MissingInput("no way to build an untrained model was given")
        start, end = self._mean(self.times[self.trial.before]), self._mean(self.fresh)
        if end <= start:
            raise MissingInput("an untrained model needs no more steps than the original")
        place = [
            (steps - start) / (end - start)
            for steps in (self._mean(self._own), *self._references())
        ]
        return Measurement(
            _BETWEEN + self.which,
            place[0],
            "match",
            n=self.metric.runs,
            target=tuple(place[1:]),
            note=f"0 is the original, 1 an untrained model, which needs {end:.0f} steps",
        )

    def _curves(self) -> Exhibit:
        """The share of runs that have not come so far yet."""
        runs = {"original": [self.times[self.trial.before]], "unlearned": [self._own]}
        if self.trial.snapshots:
            runs["retrained"] = [self.times[seen] for seen in self.trial.snapshots]
        if self.fresh is not None:
            runs[_UNTRAINED] = [self.fresh]
        columns: dict[str, list[Any]] = {"steps": [], "share": [], "model": []}
        for name, times in runs.items():
            moments, shares = lasting(*_watched(torch.cat(times), self._most))
            columns["steps"] += _twice([0.0, *moments.tolist(), self._most])[1:-1]
            columns["share"] += _twice([1.0, *shares.tolist()])
            columns["model"] += [name] * (2 * len(moments) + 2)
        title = "Runs in which what left is not known again yet"
        return Exhibit("curve", title, columns, x="steps", y="share", by="model")

    def _circumstances(self) -> str:
        late = [int(times.isinf().sum()) for times in (self._own, *self._theirs)]
        said = (
            f"mean over {self.metric.runs} runs, of which no more than {self._most:g} steps count"
        )
        if late[0]:
            said += f"; {late[0]} were not so far by then"
        if sum(late[1:]):
            total = self.metric.runs * len(self._theirs)
            said += f"; neither were {sum(late[1:])} of {total} of retrained models: raise steps"
        return said

    @property
    def _most(self) -> float:
        return float(self.metric.steps)

    @property
    def _own(self) -> Times:
        return self.times[self.trial.after]

    @property
    def _theirs(self) -> list[Times]:
        return [self.times[seen] for seen in self.trial.snapshots]

    def _references(self) -> tuple[float, ...]:
        return tuple(map(self._mean, self._theirs))

    def _mean(self, times: Times) -> float:
        return restricted_mean(*_watched(times, self._most), self._most)

    def _interval(self, times: Times) -> Interval:
        """Of another draw of samples and batches, not of another model."""
        found, value = mean_interval(times.clamp_max(self._most)), self._mean(times)
        return Interval(value, max(0.0, found.low), min(self._most, found.high))


_BETWEEN = "relearning between original and untrained, "


def _watched(times: Times, most: float) -> tuple[Times, Bool[Tensor, " r"]]:
    """How long every run was watched, and whether that was to its end."""
    return times.clamp_max(most), times.isfinite()


def _median(times: Times) -> float | None:
    return median(times, times.isfinite())


def _twice(values: Sequence[float]) -> list[float]:
    """Every value two times: stairs, drawn as a line."""
    return [value for value in values for _ in range(2)]
