"""Whether an attribute was erased or only hidden: how soon a network learns it again.

An attacker who holds the weights is not bound to the features as they are. A copy of the whole
network is trained to tell the attribute, from 16, 64, 256, and all held-out samples to learn from,
and stopped where it is best for samples to choose by, which is kinder to it than life. It starts
from the frequencies of groups in every class; its worth is what it gains over them, in bits, on
samples that are scored. What is read off a network that was never trained can be learnt from the
inputs, and comes back from any network; what an unlearned network knows sooner was still in it.

Nor is an attacker bound to the layer of the features. Where layers before it say what the
original's say, copies learn from there too, of every model alike, and the better one counts: what
a last layer hides, however it does so, is not erased. Where all weights of these layers stand in
the unlearned model, whatever is around them, it is the original that is attacked. Where no slope
gets from the features to weights that the original learns by, and nothing is left to be read before
them, nothing is measured: such a copy would be stopped, and not by a lack of knowledge.

Every curve costs ``steps`` steps of training a point and a place, and the copies are thrown away.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.gains import interval, ranking
from expunge.doubting import check
from expunge.errors import BadSetting, MissingInput
from expunge.matching import Kept, holds, kept, weighted
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import device_of
from expunge.probing import Finding, Question, probe
from expunge.relearning import Attacker, Pace
from expunge.representing import FEATURES, represent, untrained
from expunge.reserving import reserve, wanted

Whose = Int[Tensor, " n"] | None

_LEAST = 10  # steps; fewer are not looked at once
_ASKED = 3  # layers as they were, among which the one that tells most is looked for
_ROWS = 4000  # samples that tell which one does


@dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """What was found with so many labels."""

    points: Mapping[int, Finding]

    @property
    def bits(self) -> Float[Tensor, " n"]:
        """What every sample gives away, mean over all numbers of labels."""
        return torch.stack([found.bits for found in self.points.values()]).mean(0)

    @property
    def whose(self) -> Whose:
        """The subjects of the samples."""
        return next(iter(self.points.values())).whose


@dataclass(frozen=True)
class Reattack(Metric):
    """Bits about an attribute that come back once the whole network is trained to tell it."""

    names: tuple[str, ...] = ()  # attributes; empty: those that the requests name
    subjects: str = ""  # the attribute that tells whose a sample is; empty: each is its own
    labels: tuple[int, ...] = (16, 64, 256)  # known samples of an attacker, besides all there are
    steps: int = 200  # of training, for every number of labels
    batch: int = 64  # samples of a step
    lr: float = 1e-3  # of Adam; the new head learns ten times as fast
    floor: float = 0.05  # bits above an untrained model's that would not matter
    build: Callable[[], nn.Module] | None = None  # makes an untrained model; None: no such curve

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        self._check()
        outcome = trial.outcome
        names = wanted(self.names, outcome.split)
        held = reserve(outcome.split, outcome.task, names, self.subjects)
        try:
            for model in (outcome.before, outcome.after):
                check(model, held, outcome.task)
            stays = kept(outcome.before, outcome.after, held, outcome.task)
        except MissingInput as why:
            for name in names:
                yield from _missing(name, why)
            return
        pace = Pace(self.steps, self.batch, self.lr)
        for name in names:
            try:
                attacker = Attacker.of(outcome.task, held, Question.about(held, name), pace)
                siege = _Siege.of(self, attacker, trial, stays)
                curves = siege.curves(trial)
            except MissingInput as why:
                yield from _missing(name, why)
            else:
                yield from _told(name, curves, siege.where, self.floor)
            yield _stays(name, stays)

    def _check(self) -> None:
        if any(count < 2 for count in self.labels) or self.steps < _LEAST or self.batch < 2:
            raise BadSetting(
                f"a re-attack of {self.steps} steps of {self.batch} samples, from "
                f"{self.labels} labels, can learn nothing",
                hint=f"take 2 labels and samples or more, and {_LEAST} steps or more.",
            )


@dataclass(frozen=True, slots=True, eq=False)
class _Siege:
    """From where the networks are attacked."""

    metric: Reattack
    attacker: Attacker
    places: tuple[
        tuple[str, str], ...
    ]  # that say what they said: in the unlearned model, in others
    deep: int | None  # the first layer with weights that slopes reach in the original
    stays: Kept
    whole: bool  # all that the original's layers know stands in the unlearned model

    @classmethod
    def of(cls, metric: Reattack, attacker: Attacker, trial: Trial, stays: Kept) -> "_Siege":
        """Look for places, and for how far slopes get."""
        before, task, held = trial.outcome.before, trial.outcome.task, attacker.held
        layers = weighted(before, held, task)
        deep = attacker.reached(before, layers) if layers else 0
        places = _worthwhile(attacker, trial.outcome.after, stays.pairs)
        whole = holds(trial.outcome.after, before, layers)
        return cls(metric, attacker, places, deep, stays, whole)

    @property
    def where(self) -> str:
        """What was attacked besides the features, in words."""
        restored = "; all weights of the original's layers stand in it" if self.whole else ""
        if not self.places:
            return restored
        said = " and ".join(repr(ours) for ours, _ in self.places)
        return (
            f"; read at {said} too: {self.stays.weighted} of {self.stays.of} layers with weights "
            f"say what the original's say{restored}"
        )

    def curves(self, trial: Trial) -> dict[str, _Curve]:
        """Every model's curve; of references the first alone is attacked."""
        outcome = trial.outcome
        ours, theirs = ([*dict.fromkeys(pair[k] for pair in self.places)] for k in (0, 1))
        original = self._curve("original", outcome.before, theirs)
        unlearned = None if self.whole else self._curve("unlearned", outcome.after, ours)
        found = {"original": original, "unlearned": unlearned or original}
        if trial.references is not None and len(trial.references):
            found["retrained"] = self._curve(
                "retrained", trial.references.members[0].load(), theirs
            )
        if self.metric.build is not None:
            fresh = untrained(self.metric.build, device_of(outcome.after))
            found["untrained"] = self._curve("untrained", fresh, theirs)
        return found

    def _curve(self, which: str, model: nn.Module, names: Sequence[str]) -> _Curve:
        """What is found with more and more labels, each time from a new copy."""
        places = [*self._open(model, names)]
        if not places:
            raise MissingInput(
                f"no slope gets from the features of the {which} model to the weights of its first "
                f"layers, so that a copy of it cannot be trained"
            )
        (learn, *_), known = self.attacker.question.ways, self.metric.labels
        order = learn[torch.randperm(len(learn), generator=torch.Generator().manual_seed(0))]
        counts = sorted({min(count, len(order)) for count in (*known, len(order))})
        return _Curve({count: self._best(model, order[:count], places) for count in counts})

    def _best(self, model: nn.Module, rows: Int[Tensor, " m"], places: Sequence[str]) -> Finding:
        found = [self.attacker.found(model, rows, place) for place in places]
        return min(found, key=lambda each: each.price)

    def _open(self, model: nn.Module, names: Sequence[str]) -> Iterator[str]:
        """Where an attack can begin: the features, and layers of these names that say else."""
        task, held = self.attacker.task, self.attacker.held
        layers = weighted(model, held, task)
        if not layers or self._gets_through(model, layers, FEATURES):
            yield FEATURES
        seen = represent(model, held, task, names) if names else {}
        for name in names:
            same = name not in seen or torch.equal(seen[name], seen[FEATURES])
            if not same and self._gets_through(model, layers, name):
                yield name

    def _gets_through(self, model: nn.Module, layers: Sequence[str], place: str) -> bool:
        """Whether as deep a layer can learn as in the original."""
        deep = self.attacker.reached(model, layers, place)
        return deep is not None and self.deep is not None and deep <= self.deep


def _worthwhile(
    attacker: Attacker, model: nn.Module, pairs: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """The last layer that is as it was, and one of several before that tells a probe most."""
    if not pairs:
        return ()
    few = dict(pairs[-1 - len(pairs) * k // _ASKED] for k in range(_ASKED))
    seen = represent(model, attacker.held, attacker.task, [*few])
    costs = {
        name: probe(attacker.question, seen[name], ("linear",), _ROWS)["linear"].price
        for name in few
    }
    most = min(costs, key=lambda name: costs[name])
    return tuple(dict.fromkeys([pairs[-1], (most, few[most])]))


def _missing(name: str, why: MissingInput) -> Iterator[Measurement]:
    for called in (f"re-attack (bits), {name}", _above_of(name)):
        yield Measurement.missing(called, why.fact)


def _stays(name: str, stays: Kept) -> Measurement:
    """How much of the way to the features is as it was."""
    return Measurement(
        f"layers that say what they said (share), {name}",
        stays.share,
        "lower",
        n=stays.of,
        note="of the layers with weights before the features; what was known there still is",
    )


def _told(
    name: str, curves: Mapping[str, _Curve], where: str, floor: float
) -> Iterator[Measurement]:
    whole = {which: curve.bits for which, curve in curves.items()}
    whose, exhibit = curves["unlearned"].whose, _exhibit(name, curves)
    apart = interval(whole["unlearned"] - whole["original"], whose)
    note = (
        f"mean over all numbers of labels; {apart.value:+.3f} ({apart.low:+.3f} to "
        f"{apart.high:+.3f}) against the original{where}"
    )
    found = _one(f"re-attack (bits), {name}", whole, whose, note)
    yield replace(found, exhibit=exhibit)
    for count in curves["unlearned"].points:
        known = "all" if count == max(curves["unlearned"].points) else str(count)
        bits = {which: curve.points[count].bits for which, curve in curves.items()}
        called = f"re-attack with {known} labels (bits), {name}"
        yield _one(called, bits, whose, f"{count} labels were known")
    found = Measurement.attempt(_above_of(name), lambda: _above(name, whole, whose, where))
    yield replace(found, floor=floor)


def _one(name: str, bits: Mapping[str, Tensor], whose: Whose, note: str) -> Measurement:
    now, retrained = interval(bits["unlearned"], whose), bits.get("retrained")
    return Measurement(
        name,
        now.value,
        "lower",
        (now.low, now.high),
        n=len(bits["unlearned"]),
        original=interval(bits["original"], whose),
        target=() if retrained is None else (retrained.mean().item(),),
        note=note,
    )


def _above(name: str, bits: Mapping[str, Tensor], whose: Whose, where: str) -> Measurement:
    """How much sooner the attribute is learnt than by who starts from nothing."""
    if "untrained" not in bits:
        raise MissingInput("no way to build an untrained model was given")
    above = {which: each - bits["untrained"] for which, each in bits.items()}
    return _one(_above_of(name), above, whose, f"mean over all numbers of labels{where}")


def _above_of(name: str) -> str:
    return f"re-attack above an untrained model (bits), {name}"


def _exhibit(name: str, curves: Mapping[str, _Curve]) -> Exhibit:
    rows = [
        (count, *astuple(found.worth()), _auc(found), which)
        for which, curve in curves.items()
        for count, found in curve.points.items()
    ]
    names = ("labels", "bits", "from", "to", "AUC", "model")
    columns = {name: [*values] for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    title = f"How soon {name} is learnt again"
    return Exhibit("curve", title, columns, x="labels", y="bits", by="model")


def _auc(found: Finding) -> float | None:
    ranked = ranking(found.told, found.asked, found.whose)
    return None if ranked is None else ranked.value
