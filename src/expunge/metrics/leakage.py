"""What probes still read about an attribute, from samples that no model was trained on.

A probe guesses the attribute from features; its worth is what it gains over who knows how often
every group is seen, in bits, in accuracy, and by how well it ranks. What counts is the conditional
leak, beyond what the label tells: any model that tells the label tells whatever goes with it.

Probes of four families, chosen by samples of their own, are asked at the feature layer and at the
logits; the first two of them also at some layers on the way. What the logits tell the features tell
as well, though they may hide it from probes among numbers that say nothing. Beside the original
stand other yardsticks: the label alone, the answers alone, the raw inputs, and, at both places as
well, a network that was never trained (which leaks too) and an attribute handed out anew inside
every class, of which nothing can be read but chance. Who is exposed is told as a share and a
distribution, never by name.

No probe proves that there is nothing to find: a gain of zero is that of these families, on so many
samples, at these places. One pass over held-out samples a model, and some seconds for every probe.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from expunge.algebra.gains import interval, rare
from expunge.algebra.guessing import blind, price, prices
from expunge.algebra.statistics import Interval
from expunge.displaying import Found, by_place, listed, mapped, spread
from expunge.doubting import check, same_as_before
from expunge.errors import MissingInput, UnknownName
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import device_of
from expunge.outcome import Outcome
from expunge.probing import Finding, Question, Worth, best, probe
from expunge.representing import FEATURES, LOGITS, Places, between, inputs_of, represent, untrained
from expunge.reserving import Reserve, reserve, wanted
from expunge.vetting import vetted

_BEYOND, _IN_ALL = "conditional leakage", "leakage"
_AT = {FEATURES: "", LOGITS: " in the logits"}
_TOLD = 0.05  # bits that the original must leak for a share of them to mean something
_ON_THE_WAY = 3  # layers that are probed where none is named
_QUICK = 2  # families that are asked there
_ERRORS = "; whoever answers so, tells so much: groups that err more often are told by it"
_SAVED = 0.5  # bits that expose somebody: of a group that costs next to nothing half means nothing


@dataclass(frozen=True)
class Leakage(Metric):
    """What probes gain about an attribute from features, beyond the label and in all."""

    names: tuple[str, ...] = ()  # attributes; empty: those that the requests name
    layers: tuple[str, ...] | None = None  # probed too, by name; None: a few, evenly spread
    subjects: str = ""  # the attribute that tells whose a sample is; empty: each is its own
    families: tuple[str, ...] = ("linear", "MLP", "k-NN", "boosted trees")  # of probes, by name
    rows: int = 4000  # samples that probes learn from; the linear one takes what it can hold
    floor: float = 0.01  # bits beyond the label that would not matter
    build: Callable[[], nn.Module] | None = None  # makes an untrained model; None: no such line

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        outcome = trial.outcome
        names = wanted(self.names, outcome.split)
        self._check(outcome.before)
        held = reserve(outcome.split, outcome.task, names, self.subjects)
        yield from vetted(trial, held)
        try:
            check(outcome.before, held, outcome.task)
            doubts = check(outcome.after, held, outcome.task)
            layers, seen = self._seen(outcome, held)
            for which, first in (("original", trial.before), ("unlearned", trial.after)):
                same_as_before(first.test, seen[which][LOGITS])
        except MissingInput as why:
            for name in names:
                yield Measurement.missing(f"{_BEYOND} (bits), {name}", why.fact)
            return
        for name in names:
            try:
                question = Question.about(held, name)
            except MissingInput as why:
                yield Measurement.missing(f"{_BEYOND} (bits), {name}", why.fact)
                continue
            found = dict(self._findings(question, seen))
            study = _Study(self, trial, held, name, question, layers, seen, found, doubts)
            yield from study.told()

    def _seen(self, outcome: Outcome, held: Reserve) -> tuple[tuple[str, ...], dict[str, Places]]:
        """The layers that are probed, and what both models make of all samples."""
        models = {"original": outcome.before, "unlearned": outcome.after}
        layers = self.layers
        if layers is None:
            layers = between([*models.values()], held, outcome.task, _ON_THE_WAY)
        seen = {which: represent(m, held, outcome.task, layers) for which, m in models.items()}
        return layers, dict(seen)

    def probed(
        self, question: Question, x: Float[Tensor, "n d"], most: int | None = None
    ) -> dict[str, Finding]:
        """What every family, or the first so many, finds in these numbers."""
        return probe(question, x, self.families[:most], self.rows)

    def anywhere(self, question: Question, places: Places) -> Finding:
        """What the best probe finds in the features of a model, or in its logits."""
        return best(_whole({at: self.probed(question, places[at]) for at in _AT}, FEATURES))

    def _check(self, model: nn.Module) -> None:
        known = [name for name, _ in model.named_modules() if name]
        for layer in self.layers or ():
            if layer not in known:
                raise UnknownName("layer", layer, known)

    def _findings(
        self, question: Question, seen: Mapping[str, Places]
    ) -> Iterator[tuple[tuple[str, str, str], Found]]:
        """By what was asked, of which model, and where."""
        known: dict[str, Found] = {}
        for which, places in seen.items():
            for place, x in places.items():
                if place not in known or not torch.equal(x, seen["original"][place]):
                    known[place] = self.probed(question, x, None if place in _AT else _QUICK)
            unaided = {place: self.probed(question.unaided, places[place]) for place in _AT}
            for place in places:
                yield (_BEYOND, which, place), _whole(known, place)
            for place in _AT:
                yield (_IN_ALL, which, place), _whole(unaided, place)


@dataclass(frozen=True, slots=True, eq=False)
class _Study:
    """All that was found about one attribute.

    It holds as much as its measurements share.
    """

    metric: Leakage
    trial: Trial
    held: Reserve
    name: str
    question: Question
    layers: tuple[str, ...]
    seen: Mapping[str, Places]
    found: Mapping[tuple[str, str, str], Found]
    doubts: str  # of the unlearned model

    def told(self) -> Iterator[Measurement]:
        yield self._deciding()
        yield self._tried(_BEYOND, FEATURES, "AUC")
        yield self._tried(_BEYOND, FEATURES, "accuracy gain")
        for place in (LOGITS, *self.layers):
            yield self._tried(_BEYOND, place, "bits")
        yield replace(self._tried(_IN_ALL, FEATURES, "bits"), exhibit=listed(self.name, self.found))
        yield self._tried(_IN_ALL, FEATURES, "AUC")
        yield self._tried(_IN_ALL, FEATURES, "accuracy gain")
        yield self._tried(_IN_ALL, LOGITS, "bits")
        yield self._exposed()
        yield self._label_alone()
        yield self._commonest()
        if self.trial.outcome.task.kind != "regression":
            yield self._line("the answers alone", self._answers, _ERRORS)
        yield self._line("raw inputs", self._raw)
        yield self._line("an untrained model", self._untrained)
        yield replace(self._line("a permuted attribute", self._permuted), exhibit=self._map())

    def _deciding(self) -> Measurement:
        """Bits beyond the label at the feature layer, before, after, and in references."""
        members = () if self.trial.references is None else self.trial.references.members
        one = self._one(_BEYOND, FEATURES, "bits")
        beyond = {
            (which, place): probes
            for (what, which, place), probes in self.found.items()
            if what == _BEYOND
        }
        return replace(
            one,
            target=tuple(self._of(member.load()).worth().value for member in members),
            floor=self.metric.floor,
            note=f"{one.note}; {self._circumstances()}{self.doubts}",
            exhibit=by_place(self.name, beyond, (*self.layers, *_AT)),
        )

    def _tried(self, what: str, place: str, worth: Worth) -> Measurement:
        name = self._called(what, place, worth)
        return Measurement.attempt(name, lambda: self._one(what, place, worth))

    def _one(self, what: str, place: str, worth: Worth) -> Measurement:
        after, before = (self._best(what, which, place) for which in ("unlearned", "original"))
        now, then = after.worth(worth), before.worth(worth)
        compared = worth == "bits" and then.low > _TOLD
        return Measurement(
            self._called(what, place, worth),
            now.value,
            "lower",
            (now.low, now.high),
            n=len(after.asked),
            original=then,
            note=f"best probe: {after.probe}, of the original {before.probe}"
            + (f"; {max(0.0, now.value / then.value):.0%} of the original's" if compared else "")
            + (_left_out(after) if worth == "AUC" else ""),
        )

    def _exposed(self) -> Measurement:
        after, before = (self._best(_BEYOND, w, FEATURES) for w in ("unlearned", "original"))
        now, then = (interval(_caught(each), each.whose) for each in (after, before))
        return Measurement(
            f"exposed samples (share), {self.name}",
            now.value,
            "lower",
            (now.low, now.high),
            n=len(after.asked),
            original=then,
            note="the features save half of the bits that the group would cost, and more than "
            f"{_SAVED:g}",
            exhibit=spread(self.name, before, after),
        )

    def _label_alone(self) -> Measurement:
        ignorant, aided = self.question.unaided.scored, self.question.scored
        gain = prices(ignorant.bets, ignorant) - prices(aided.bets, aided)
        note = "any model that tells the label tells as much"
        return self._yardstick("the label alone (bits)", interval(gain, self.question.whose), note)

    def _commonest(self) -> Measurement:
        ignorant = self.question.unaided.scored
        right = (ignorant.bets.argmax(1) == ignorant.z).double()
        return self._yardstick("the commonest group (share)", interval(right, self.question.whose))

    def _line(self, what: str, take: Callable[[], Finding], more: str = "") -> Measurement:
        def one() -> Measurement:
            found = take()
            note = f"beyond the label; best probe: {found.probe}{more}"
            return self._yardstick(f"{what} (bits)", found.worth(), note)

        return Measurement.attempt(f"reference line: {what} (bits), {self.name}", one)

    def _yardstick(self, what: str, found: Interval, note: str = "") -> Measurement:
        name, n = f"reference line: {what}, {self.name}", len(self.question.ways[2])
        return Measurement(name, found.value, "lower", (found.low, found.high), n=n, note=note)

    def _answers(self) -> Finding:
        said = self.seen["unlearned"][LOGITS]
        one = self.trial.outcome.task.kind == "classification"
        x = F.one_hot(said.argmax(1), said.shape[1]) if one else said > 0
        return best(self.metric.probed(self.question, x.float(), _QUICK))

    def _raw(self) -> Finding:
        x = inputs_of(self.held, self.trial.outcome.task)
        return best(self.metric.probed(self.question, x))

    def _untrained(self) -> Finding:
        return self._of(untrained(self.metric.build, device_of(self.trial.outcome.after)))

    def _permuted(self) -> Finding:
        return self.metric.anywhere(self.question.permuted, self.seen["unlearned"])

    def _of(self, model: nn.Module) -> Finding:
        places = represent(model, self.held, self.trial.outcome.task)
        return self.metric.anywhere(self.question, places)

    def _best(self, what: str, which: str, place: str) -> Finding:
        if (what, which, place) not in self.found:
            raise MissingInput(f"the layer {place!r} has no part in the {which} model's passes")
        return best(self.found[what, which, place])

    def _called(self, what: str, place: str, worth: Worth) -> str:
        return f"{what}{_AT.get(place, f' at {place}')} ({worth}), {self.name}"

    def _circumstances(self) -> str:
        (learn, choose, _), score = self.question.ways, self.question.scored
        return (
            f"{price(blind, score):.3f} bits are there to be told; probes learnt from {len(learn)} "
            f"held-out samples and were chosen by {len(choose)} others"
        )

    def _map(self) -> Exhibit:
        words = self.held.attributes[self.name].words
        return mapped(self.name, self.question, words, self.seen)


def _whole(found: Mapping[str, Found], place: str) -> Found:
    """What probes found at a place. Who has the features has the logits: that counts as well."""
    if place != FEATURES:
        return found[place]
    said = best(found[LOGITS])
    called = f"{said.probe} of the logits"
    return {**found[place], "best of the logits": replace(said, probe=called)}


def _left_out(found: Finding) -> str:
    count = rare(found.asked, found.whose)
    return f"; {count} groups of classes are too rare to be ranked" if count else ""


def _caught(found: Finding) -> Float[Tensor, " n"]:
    """One where a probe saves half of what a group would cost, and more than so many bits."""
    half = prices(found.asked.bets, found.asked) / 2
    return ((found.bits >= half) & (found.bits > _SAVED)).double()
