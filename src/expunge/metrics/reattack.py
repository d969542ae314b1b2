"""Whether an attribute was erased or only hidden: how soon a network learns it again.

An attacker who holds the weights is not bound to the features as they are. A copy of the whole
network is trained to tell the attribute, from 16, 64, 256, and all held-out samples to learn from,
and stopped where it is best for samples to choose by, which is kinder to it than life. It starts
from the frequencies of groups in every class; its worth is what it gains over them, in bits, on
samples that are scored. What is read off a network that was never trained can be learnt from the
inputs, and comes back from any network; what an unlearned network knows sooner was still in it.

Every curve costs ``steps`` steps of training a point, and the copies are thrown away.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from math import log
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from expunge.algebra.gains import interval, ranking
from expunge.algebra.guessing import Asked, hedge, mixed, price
from expunge.errors import BadSetting, MissingInput
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import BATCH, device_of
from expunge.probing import Finding, Question
from expunge.representing import drawing, thawed, untrained
from expunge.reserving import Reserve, reserve, wanted
from expunge.tasks import Batch, Task

Whose = Int[Tensor, " n"] | None

_LOOK = 10  # steps between two looks at the samples to choose by
_HEAD = 10.0  # how much faster the new head learns than the network below it


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
        for name in names:
            try:
                question = Question.about(held, name)
            except MissingInput as why:
                yield Measurement.missing(f"re-attack (bits), {name}", why.fact)
                continue
            attack = _Attack.of(self, outcome.task, held, question)
            yield from _told(name, self._curves(attack, trial), self.floor)

    def _check(self) -> None:
        if any(count < 2 for count in self.labels) or self.steps < _LOOK or self.batch < 2:
            raise BadSetting(
                f"a re-attack of {self.steps} steps of {self.batch} samples, from "
                f"{self.labels} labels, can learn nothing",
                hint=f"take 2 labels and samples or more, and {_LOOK} steps or more.",
            )

    def _curves(self, attack: "_Attack", trial: Trial) -> dict[str, _Curve]:
        """Every model's curve; of references the first alone is attacked."""
        outcome = trial.outcome
        found = {"original": attack.curve(outcome.before), "unlearned": attack.curve(outcome.after)}
        if trial.references is not None and len(trial.references):
            found["retrained"] = attack.curve(trial.references.members[0].load())
        if self.build is not None:
            fresh = untrained(self.build, device_of(outcome.after))
            found["untrained"] = attack.curve(fresh)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Attack:
    """What an attacker knows, whichever model is attacked."""

    metric: Reattack
    task: Task
    held: Reserve
    question: Question
    bets: Float[Tensor, "n k"]  # nats, by the class alone
    chosen: Asked
    scored: Asked

    @classmethod
    def of(cls, metric: Reattack, task: Task, held: Reserve, question: Question) -> "_Attack":
        nothing = torch.zeros(len(held), 1)
        bets = question.everyone(nothing).bets * log(2)
        _, chosen, scored = question.asked(nothing)
        return cls(metric, task, held, question, bets, chosen, scored)

    def curve(self, model: nn.Module) -> _Curve:
        """What is found with more and more labels, each time from a new copy."""
        learn, *_ = self.question.ways
        order = learn[torch.randperm(len(learn), generator=torch.Generator().manual_seed(0))]
        counts = sorted({min(count, len(order)) for count in (*self.metric.labels, len(order))})
        return _Curve({count: self._attacked(model, order[:count]) for count in counts})

    def _attacked(self, model: nn.Module, rows: Int[Tensor, " m"]) -> Finding:
        with drawing(), torch.enable_grad():
            thief = self._thief(model)
            self._train(thief, rows)
            return self._found(thief)

    def _train(self, thief: "_Thief", rows: Int[Tensor, " m"]) -> None:
        """Learn from these samples, and go back to where the samples to choose by cost least."""
        head = {"params": [*thief.head.parameters()], "lr": _HEAD * self.metric.lr}
        groups: list[dict[str, Any]] = [{"params": [*thief.encoder.parameters()]}, head]
        optimizer = Adam(groups, lr=self.metric.lr)
        kept, least = _state(thief), self._price(thief)
        for step in range(1, self.metric.steps + 1):
            some = rows[torch.randperm(len(rows))[: self.metric.batch]].sort().values
            thief.train()
            told = self._logits(thief, some)
            optimizer.zero_grad()
            F.cross_entropy(told, self.question.z[some].to(told.device)).backward()
            optimizer.step()
            if step % _LOOK:
                continue
            now = self._price(thief)
            if now < least:
                kept, least = _state(thief), now
        thief.load_state_dict(kept)

    def _price(self, thief: "_Thief") -> float:
        """What the samples to choose by still cost, in bits."""
        told = self._said(thief, self.question.ways[1])
        return price(lambda _: mixed(told, self.chosen, hedge(told, self.chosen)), self.chosen)

    def _found(self, thief: "_Thief") -> Finding:
        chosen, scored = (self._said(thief, rows) for rows in self.question.ways[1:])
        told = mixed(scored, self.scored, hedge(chosen, self.chosen))
        return Finding("fine-tuning", told, self.scored, self.question.whose, self._price(thief))

    @torch.no_grad()
    def _said(self, thief: "_Thief", rows: Int[Tensor, " m"]) -> Float[Tensor, "m k"]:
        """Log2-probabilities of every group."""
        thief.eval()
        told = [self._logits(thief, some).double().cpu() for some in rows.split(BATCH)]
        return torch.cat(told).log_softmax(1) / log(2)

    def _logits(self, thief: "_Thief", rows: Int[Tensor, " m"]) -> Float[Tensor, "m k"]:
        batch = self.held.take(rows, device_of(thief), self.task)
        told: Tensor = thief(batch)
        return told + self.bets[rows].to(told)

    def _thief(self, model: nn.Module) -> "_Thief":
        encoder = thawed(model)
        some = self.question.ways[0][:BATCH]
        with torch.no_grad():
            batch = self.held.take(some, device_of(model), self.task)
            features = self.task.answer(encoder.eval(), batch).embedding
        return _Thief(encoder, self.task, features, self.bets.shape[1])


class _Thief(nn.Module):
    """A copy of a network, with a new head on its features that names groups."""

    mean: Tensor
    scale: Tensor

    def __init__(self, encoder: nn.Module, task: Task, seen: Tensor, groups: int) -> None:
        """Take a copy, and features to scale by; the head knows nothing yet."""
        super().__init__()
        self.encoder, self._task = encoder, task
        self.head = nn.Linear(seen.shape[1], groups).to(seen)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        scale = seen.std(0, correction=0)
        scale = scale.clamp_min(scale.mean().item() / 100)  # what hardly moves must not be blown up
        scale = scale * len(scale) ** 0.5  # steps of Adam move logits by so much
        self.register_buffer("mean", seen.mean(0))
        self.register_buffer("scale", torch.where(scale > 0, scale, 1.0))

    def forward(self, batch: Batch) -> Float[Tensor, "n k"]:
        """A logit for every group, besides the bets."""
        features = self._task.answer(self.encoder, batch).embedding
        told: Tensor = self.head((features - self.mean) / self.scale)
        return told


def _state(thief: _Thief) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in thief.state_dict().items()}


def _told(name: str, curves: Mapping[str, _Curve], floor: float) -> Iterator[Measurement]:
    whole = {which: curve.bits for which, curve in curves.items()}
    whose, exhibit = curves["unlearned"].whose, _exhibit(name, curves)
    apart = interval(whole["unlearned"] - whole["original"], whose)
    note = (
        f"mean over all numbers of labels; {apart.value:+.3f} ({apart.low:+.3f} to "
        f"{apart.high:+.3f}) against the original"
    )
    found = _one(f"re-attack (bits), {name}", whole, whose, note)
    yield replace(found, exhibit=exhibit)
    for count in curves["unlearned"].points:
        known = "all" if count == max(curves["unlearned"].points) else str(count)
        bits = {which: curve.points[count].bits for which, curve in curves.items()}
        called = f"re-attack with {known} labels (bits), {name}"
        yield _one(called, bits, whose, f"{count} labels were known")
    found = Measurement.attempt(_above_of(name), lambda: _above(name, whole, whose))
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


def _above(name: str, bits: Mapping[str, Tensor], whose: Whose) -> Measurement:
    """How much sooner the attribute is learnt than by who starts from nothing."""
    if "untrained" not in bits:
        raise MissingInput("no way to build an untrained model was given")
    above = {which: each - bits["untrained"] for which, each in bits.items()}
    return _one(_above_of(name), above, whose, "mean over all numbers of labels")


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
