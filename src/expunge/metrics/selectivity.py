"""What should have stayed: other attributes in the features, and the task itself.

An attribute is taken out for nothing if all else goes with it. So probes are asked for the other
attributes that the task can read, beyond the label, before and after. Where two attributes go
together, some of the other must go too: how many bits of it the removed one tells the same probes
is said beside it. One that cannot be read, or that is another for nearly everybody, says so. The
task's own loss is that of every test sample, before less after, in pairs.

One pass over held-out samples for both models, and some seconds for every probe.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.gains import interval
from expunge.algebra.statistics import Interval, mean_interval
from expunge.errors import ExpungeError, MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Observation
from expunge.outcome import Outcome
from expunge.probing import Finding, Question, best, probe
from expunge.representing import FEATURES, represent
from expunge.reserving import Reserve, reserve, wanted

_EACH = 10  # held-out samples for every group of an attribute, at least
_FAULTS = (
    ExpungeError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)  # what a task's function may raise; no attribute that nobody asked about may end an audit


@dataclass(frozen=True)
class Selectivity(Metric):
    """What probes still gain about the attributes that stay, and what the task has lost."""

    names: tuple[str, ...] = ()  # attributes that leave; empty: those that the requests name
    subjects: str = ""  # the attribute that tells whose a sample is; empty: each is its own
    families: tuple[str, ...] = ("linear", "MLP")  # of probes, by name
    rows: int = 4000  # samples that probes learn from; the linear one takes what it can hold

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        outcome = trial.outcome
        gone = wanted(self.names, outcome.split)
        yield _lost(_test(trial.before.test), _test(trial.after.test))
        readable = getattr(outcome.task, "attributes", ())
        stay = [name for name in readable if name not in (*gone, self.subjects)]
        if not stay:
            yield Measurement.missing("other attributes (bits)", "the task can read no others")
            return
        held, unread = self._held(outcome, gone, stay)
        before, after = (
            represent(model, held, outcome.task)[FEATURES]
            for model in (outcome.before, outcome.after)
        )
        itself = _groups(held, gone)
        for name in stay:
            called = f"other attribute (bits), {name}"
            if name in unread:
                yield Measurement.missing(called, unread[name])
                continue

            def one(name: str = name, called: str = called) -> Measurement:
                _check_few(held, name)
                question = Question.about(held, name)
                then, now, alone = (self._best(question, x) for x in (before, after, itself))
                return _kept(called, then, now, alone.worth())

            try:
                yield one()
            except _FAULTS as why:
                yield Measurement.missing(called, _fact(why))

    def _held(
        self, outcome: Outcome, gone: Sequence[str], stay: Sequence[str]
    ) -> tuple[Reserve, dict[str, str]]:
        """Held-out samples, and why some attributes that nobody asked about cannot be read."""
        unread: dict[str, str] = {}
        read = partial(reserve, outcome.split, outcome.task, subjects=self.subjects)
        try:
            return read(names=[*gone, *stay]), unread
        except _FAULTS:
            held = read(names=gone)  # a fault in what was asked about is the caller's to mend
        for name in stay:
            try:
                column = read(names=[name]).attributes
            except _FAULTS as why:
                unread[name] = _fact(why)
            else:
                held = replace(held, attributes={**held.attributes, **column})
        return held, unread

    def _best(self, question: Question, x: Float[Tensor, "n d"]) -> Finding:
        return best(probe(question, x, self.families, self.rows))


def _fact(why: BaseException) -> str:
    return why.fact if isinstance(why, ExpungeError) else f"{type(why).__name__}: {why}"


def _check_few(held: Reserve, name: str) -> None:
    """Refuse what is another for nearly everybody: it is a name, and no property."""
    groups = len(held.attributes[name])
    if groups * _EACH > len(held):
        raise MissingInput(
            f"the attribute {name!r} has {groups} groups among {len(held)} held-out samples, which "
            f"are too few to tell them apart"
        )


def _kept(called: str, before: Finding, after: Finding, lost: Interval) -> Measurement:
    now, then = after.worth(), before.worth()
    apart = interval(after.bits - before.bits, after.whose)
    change = f"{apart.value:+.3f} ({apart.low:+.3f} to {apart.high:+.3f}) against the original"
    return Measurement(
        called,
        now.value,
        "higher",
        (now.low, now.high),
        n=len(after.asked),
        original=then,
        note=f"beyond the label; {change}; what leaves tells {lost.value:.3f} of it by itself",
    )


def _groups(held: Reserve, names: Sequence[str]) -> Float[Tensor, "n k"]:
    """Which groups everybody is in, as zeros and ones; the first column is for who is in none."""
    found = [F.one_hot(held.attributes[name].of + 1) for name in names]
    return torch.cat(found, 1).float()


def _test(seen: Observation) -> Observation:
    return seen.only(seen.ids.argsort())


def _lost(before: Observation, after: Observation) -> Measurement:
    """What every test sample lost, on average."""
    if after.kind == "regression":
        name, each = "loss gained on the test set", after.losses - before.losses
    else:
        name, each = "accuracy lost on the test set", before.correct - after.correct
    found = mean_interval(each)
    return Measurement(name, found.value, "lower", (found.low, found.high), n=len(each))
