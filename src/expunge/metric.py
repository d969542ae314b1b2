"""What a metric is, what it looks at, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.differences import Difference, Limit, mean_difference
from expunge.algebra.statistics import Interval, mean_interval
from expunge.ensembles import References
from expunge.errors import MissingInput
from expunge.observing import Observation, Snapshot
from expunge.outcome import Outcome
from expunge.refusing import refuse_below, refuse_misfits
from expunge.request import Samples
from expunge.tasks import Kind
from expunge.tasks.task import Answer

T = TypeVar("T")

Goal = Literal["lower", "higher", "match"]
Status = Literal["ok", "not measured", "insufficient"]
Picture = Literal["curve", "bars", "table", "matrix", "points", "pictures"]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Numbers behind a picture: columns of equal length, numbers, words and ids only."""

    kind: Picture
    title: str
    columns: Mapping[str, Sequence[float | int | str | None]]
    x: str = ""
    y: str = ""
    by: str = ""  # the column that tells the lines or bars apart


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference to the references, its p-value, and how much would not matter."""

    difference: Interval
    p: float
    margin: float
    limit: Limit = "samples"  # what the width of the interval comes from

    @classmethod
    def of(cls, found: Difference | None, margin: float) -> "Comparison | None":
        """A comparison from what the statistics say; None where they cannot say anything."""
        return None if found is None else cls(found.interval, found.p, margin, found.limit)

    @property
    def inside(self) -> bool:
        """Whether the whole interval lies inside the margin."""
        return -self.margin <= self.difference.low and self.difference.high <= self.margin

    @property
    def outside(self) -> bool:
        """Whether the whole interval lies outside the margin."""
        return self.difference.low > self.margin or self.difference.high < -self.margin


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number, and how to read it.

    It has more fields than most, because a number without its interval, its count and what the
    original and the references score beside it is not evidence.
    """

    name: str
    value: float | None
    goal: Goal = "match"
    interval: tuple[float, float] | None = None  # None: no interval is known
    n: int = 0
    original: Interval | None = None  # what the untouched model scores, where it can be asked
    target: tuple[float, ...] = ()  # what each reference scores
    comparison: Comparison | None = None  # to the references; None where there are none
    control: Comparison | None = None  # the same for the untouched model
    selftest: Comparison | None = None  # the same for one reference against the others
    floor: float | None = None  # what would not matter, where nothing should be left; None: no such
    status: Status = "ok"
    note: str = ""
    exhibit: Exhibit | None = None

    @classmethod
    def missing(cls, name: str, why: str) -> "Measurement":
        """A number that could not be measured, and why."""
        return cls(name, None, status="not measured", note=f"not measured: {why}")

    @classmethod
    def attempt(cls, name: str, take: Callable[[], "Measurement"]) -> "Measurement":
        """One of several numbers: where it cannot be taken, the others still can."""
        try:
            return take()
        except MissingInput as why:
            return cls.missing(name, why.fact)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The models under comparison.

    Metrics that must train or look inside a model use ``outcome`` and ``references``; all others
    read snapshots.
    """

    outcome: Outcome
    before: Snapshot
    after: Snapshot
    references: References | None = None  # None: nobody retrained
    repeats: References | None = None
    """The same unlearning, of originals trained with other seeds; None: nobody repeated it."""

    @property
    def reference(self) -> Snapshot:
        """The first model retrained without the forget set."""
        return self.compared.snapshots[0]

    @property
    def compared(self) -> References:
        """All models retrained without the forget set, or MissingInput."""
        if self.references is None or len(self.references) == 0:
            raise MissingInput(
                "no reference model was given",
                hint="pass audit(..., references=expunge.retrain(...)), or a recipe.",
            )
        return self.references

    @property
    def repeated(self) -> References:
        """All models that were unlearned in the same way, or MissingInput."""
        if self.repeats is None or len(self.repeats) == 0:
            raise MissingInput(
                "nobody repeated the unlearning",
                hint="pass repeats=expunge.repeating.repeat(outcome, recipe).",
            )
        return self.repeats

    def targets(self, score: Callable[[Snapshot], float]) -> tuple[float, ...]:
        """What each reference scores; nothing where there are none."""
        return tuple(score(snapshot) for snapshot in self.snapshots)

    def embedding(self, seen: Observation) -> Float[Tensor, "n d"]:
        """The features of what was seen, or MissingInput with the layers that could be named."""
        features = next(iter(seen.features.values()), None)
        layers = tuple(name for name, _ in self.outcome.after.named_modules() if name)
        layer = str(getattr(self.outcome.task, "layer", "auto"))
        return Answer(seen.logits, features, layers, layer).embedding

    def about(self, ids: Int[Tensor, " n"]) -> "Trial":
        """The same trial with only these samples as the forget set."""
        return replace(
            self,
            before=self.before.about(ids),
            after=self.after.about(ids),
            references=self.references and self.references.about(ids),
            repeats=self.repeats and self.repeats.about(ids),
        )

    def requested(self) -> Iterator[tuple[str, "Trial"]]:
        """The trial as a whole, and of several requests for samples each by itself, by its name."""
        yield "", self
        requests = self.outcome.split.requests
        for request in requests if len(requests) > 1 else ():
            if isinstance(request.target, Samples):  # each decides: none may hide behind another
                about = self.about(torch.tensor([*request.target.indices]))
                yield f", request {request.id}", about

    def contrasts(
        self,
        read: Callable[[Snapshot], T],
        difference: Callable[[T, Sequence[T]], Difference | None],
        margin: float,
    ) -> tuple[Comparison | None, Comparison | None, Comparison | None]:
        """The model, the original, and the last reference, each against the (other) references."""
        theirs = [read(snapshot) for snapshot in self.snapshots]
        if not theirs:
            return None, None, None
        return (
            Comparison.of(difference(read(self.after), theirs), margin),
            Comparison.of(difference(read(self.before), theirs), margin),
            Comparison.of(difference(theirs[-1], theirs[:-1]), margin),
        )

    def averaged(
        self, name: str, goal: Goal, read: Callable[[Snapshot], Tensor], margin: float
    ) -> Measurement:
        """The mean of one number a sample, beside the original's and the references'.

        What is read must be of the same samples in every snapshot, and in their order.
        """
        values, before = read(self.after), read(self.before)
        several, found = len(values) > 1, mean_interval(values)
        comparison, control, selftest = self.contrasts(read, mean_difference, margin)
        return Measurement(
            name,
            found.value,
            goal,
            (found.low, found.high) if several else None,
            n=len(values),
            original=mean_interval(before) if several else None,
            target=self.targets(lambda seen: read(seen).mean().item()),
            comparison=comparison,
            control=control,
            selftest=selftest,
        )

    def beside_mean(
        self, read: Callable[[Snapshot], Tensor], apart: Callable[[Tensor, Tensor], float]
    ) -> tuple[float, float, tuple[float, ...]]:
        """How far the model and the original are from the references' mean, and each from the rest.

        A single reference has no others to be compared with.
        """
        theirs = torch.stack([read(seen) for seen in self.compared.snapshots])
        usual, others = theirs.mean(0), len(theirs) - 1
        among = tuple(apart(own, (theirs.sum(0) - own) / others) for own in theirs if others)
        return apart(read(self.after), usual), apart(read(self.before), usual), among

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """What each reference says; nothing where there are none."""
        return () if self.references is None else self.references.snapshots


@dataclass(frozen=True)
class Metric(ABC):
    """A question about a trial. Fields are settings."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification", "multilabel", "regression")
    features: ClassVar[bool] = False  # True: snapshots must hold the representation too

    def __post_init__(self) -> None:
        """Refuse settings of another kind, and a margin that holds everything or nothing."""
        refuse_misfits(self)
        refuse_below(self, 0, *self.declared)

    @property
    def declared(self) -> list[str]:
        """The settings that say what would not matter."""
        return [f.name for f in fields(self) if f.name.endswith(("margin", "floor"))]

    @property
    def label(self) -> str:
        """What a reader calls it, where it could not measure anything."""
        return "".join(f" {c.lower()}" if c.isupper() else c for c in type(self).__name__).strip()

    @abstractmethod
    def measure(self, trial: Trial) -> Iterator[Measurement]:
        """Yield one number or more."""
