"""What should have stayed: other attributes in the features, and the task itself.

An attribute is taken out for nothing if all else goes with it. So probes are asked for the other
attributes that the task can read, beyond the label, before and after. Where two attributes go
together, some of the other must go too: how many bits of it the removed one tells is said beside
it. The task's own loss is that of every test sample, before less after, in pairs.

One pass over held-out samples for both models, and some seconds for every probe.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

from jaxtyping import Float
from torch import Tensor

from expunge.algebra.gains import interval
from expunge.algebra.information import Prior
from expunge.algebra.statistics import mean_interval
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Observation
from expunge.probing import Finding, Question, best, probe
from expunge.representing import FEATURES, represent
from expunge.reserving import Reserve, reserve, wanted


@dataclass(frozen=True)
class Selectivity(Metric):
    """What probes still gain about the attributes that stay, and what the task has lost."""

    names: tuple[str, ...] = ()  # attributes that leave; empty: those that the requests name
    subjects: str = ""  # the attribute that tells whose a sample is; empty: each is its own
    families: tuple[str, ...] = ("linear", "MLP")  # of probes, by name
    rows: int = 4000  # samples that probes learn from; the linear one takes all

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        outcome = trial.outcome
        gone = wanted(self.names, outcome.split)
        yield _lost(_test(trial.before.test), _test(trial.after.test))
        readable = getattr(outcome.task, "attributes", ())
        stay = [name for name in readable if name not in (*gone, self.subjects)]
        if not stay:
            yield Measurement.missing("other attributes (bits)", "the task can read no others")
            return
        held = reserve(outcome.split, outcome.task, [*gone, *stay], self.subjects)
        before, after = (
            represent(model, held, outcome.task)[FEATURES]
            for model in (outcome.before, outcome.after)
        )
        for name in stay:
            called = f"other attribute (bits), {name}"

            def one(name: str = name, called: str = called) -> Measurement:
                question = Question.about(held, name)
                then, now = (self._best(question, x) for x in (before, after))
                return _kept(called, then, now, _told_by(held, gone, name))

            yield Measurement.attempt(called, one)

    def _best(self, question: Question, x: Float[Tensor, "n d"]) -> Finding:
        return best(probe(question, x, self.families, self.rows))


def _kept(called: str, before: Finding, after: Finding, lost: float) -> Measurement:
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
        note=f"beyond the label; {change}; what leaves tells {lost:.3f} of it by itself",
    )


def _told_by(held: Reserve, gone: Sequence[str], name: str) -> float:
    """How many bits attributes that leave tell of another one beyond the label."""
    groups, y = held.attributes[name], held.classes
    known = groups.of >= 0
    cell = y
    for other in gone:
        found = held.attributes[other]
        known &= found.of >= 0
        cell = cell * len(found) + found.of
    left, there = (
        Prior.of(groups.of[known], of[known], groups=len(groups), classes=int(of.max()) + 1).entropy
        for of in (cell.clamp_min(0), y)
    )
    return (there - left) / log(2)


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
