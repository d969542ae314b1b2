"""How alike the model and retrained ones see the data, layer by layer.

Features of two networks have other axes even where the networks are as good as the same. So the
inner products of samples are compared, by debiased linear CKA, on forgotten samples and on samples
that stay: 1 is the same but for axes, 0 has nothing in common. Beside the model stand the original
and what retrained models score among themselves, which is as alike as one can ask for. At the
feature layer there is a second index, the distance after the best rotation; where the two disagree
about whether the model is nearer to the retrained ones than the original was, none should be read
alone.

One pass of at most ``rows`` samples of each set for every model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import torch
from torch import Tensor, nn

from expunge.algebra.sampling import drawn
from expunge.algebra.similarity import Form, debiased_cka, form, procrustes_distance
from expunge.algebra.statistics import mean_interval
from expunge.errors import MissingInput, UnknownName
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.representing import FEATURES, LOGITS, Shown, between, represent
from expunge.splitting import Part

_ON_THE_WAY = 3  # layers that are compared where none is named
_LEAST = 10  # samples: fewer cannot tell how they lie
_SETS = ("forget", "retain")

Alike = Callable[[Form, Form], float]


@dataclass(frozen=True)
class Representation(Metric):
    """Similarity of the features to the references', by layer, on what left and on what stays."""

    layers: tuple[str, ...] | None = None  # compared too, by name; None: a few, evenly spread
    rows: int = 300  # samples of each set, at most

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        _ = trial.compared  # raises where there are none
        self._check(trial.outcome.before)
        for which in _SETS:
            try:
                study = self._study(trial, which)
            except MissingInput as why:
                yield Measurement.missing(f"representation CKA, {which}", why.fact)
                continue
            yield from study.told()

    def _study(self, trial: Trial, which: str) -> "_Study":
        """What every model makes of some samples of one set."""
        outcome, seen = trial.outcome, getattr(trial.after, which)
        if len(seen) < _LEAST:
            raise MissingInput(f"{len(seen)} samples are too few to tell how they lie")
        ids = seen.ids[drawn(seen.ids, self.rows)]
        shown = Shown(Part(outcome.split.retain.source, ids))
        lenders = [member.load for member in trial.compared.members]
        ours, layers = [outcome.before, outcome.after], self.layers
        if layers is None:
            layers = between([*ours, lenders[0]()], shown, outcome.task, _ON_THE_WAY)

        def look(model: nn.Module) -> dict[str, Form]:
            places = represent(model, shown, outcome.task, layers)
            return {place: form(x) for place, x in places.items() if place != LOGITS}

        before, after = map(look, ours)
        return _Study(which, len(ids), layers, before, after, [look(lend()) for lend in lenders])

    def _check(self, model: nn.Module) -> None:
        known = [name for name, _ in model.named_modules() if name]
        for layer in self.layers or ():
            if layer not in known:
                raise UnknownName("layer", layer, known)


@dataclass(frozen=True, slots=True, eq=False)
class _Study:
    """How samples of one set lie in every model, by place."""

    which: str
    n: int
    layers: tuple[str, ...]
    before: Mapping[str, Form]
    after: Mapping[str, Form]
    theirs: Sequence[Mapping[str, Form]]

    def told(self) -> Iterator[Measurement]:
        name = f"representation CKA, {self.which}"
        other = f"representation distance (Procrustes), {self.which}"
        alike = Measurement.attempt(name, lambda: self._one(name, FEATURES, debiased_cka))
        apart = Measurement.attempt(other, lambda: self._one(other, FEATURES, procrustes_distance))
        if alike.value is not None:
            doubt = self._doubt()
            alike = replace(alike, note=alike.note + doubt, exhibit=self._profile())
            apart = replace(apart, goal="lower", note=apart.note + doubt)
        yield alike
        yield apart
        for layer in self.layers:
            called = f"{name}, {layer}"
            yield Measurement.attempt(called, partial(self._one, called, layer, debiased_cka))

    def _one(self, name: str, place: str, alike: Alike) -> Measurement:
        own, then = (self._to_references(x, place, alike) for x in (self.after, self.before))
        among, several = self._among(place, alike), len(self.theirs) > 1
        now = mean_interval(own)
        return Measurement(
            name,
            now.value,
            "higher",
            (now.low, now.high) if several else None,
            n=self.n,
            original=mean_interval(then) if several else None,
            target=tuple(among),
            note=f"mean over {len(self.theirs)} references; the original's is {then.mean():.3f}",
        )

    def _to_references(self, model: Mapping[str, Form], place: str, alike: Alike) -> Tensor:
        """To every reference, one after the other."""
        here = self._at(model, place)
        return torch.tensor([alike(here, self._at(each, place)) for each in self.theirs]).double()

    def _among(self, place: str, alike: Alike) -> list[float]:
        """What each reference scores, on average, with all others."""
        forms = [self._at(each, place) for each in self.theirs]
        if len(forms) < 2:
            return []
        pairs = {(i, j): alike(forms[i], forms[j]) for i, j in combinations(range(len(forms)), 2)}
        return [
            sum(value for pair, value in pairs.items() if k in pair) / (len(forms) - 1)
            for k in range(len(forms))
        ]

    def _at(self, model: Mapping[str, Form], place: str) -> Form:
        if place not in model:
            raise MissingInput(f"the layer {place!r} has no part in the passes of every model")
        if not model[place].any():
            raise MissingInput(f"the {place} says the same of all samples")
        return model[place]

    def _doubt(self) -> str:
        """Whether both indices agree on who is nearer to retrained models."""
        nearer = [
            sign * (self._to_references(self.after, FEATURES, alike).mean()
                    - self._to_references(self.before, FEATURES, alike).mean()).item()
            for alike, sign in ((debiased_cka, 1), (procrustes_distance, -1))
        ]  # fmt: skip
        return _DISAGREE if nearer[0] * nearer[1] < 0 else ""

    def _profile(self) -> Exhibit:
        """From the inputs on, layer by layer."""
        rows = []
        for place in (*self.layers, FEATURES):
            if any(place not in model or not model[place].any() for model in self._models):
                continue
            told = {
                "original": self._to_references(self.before, place, debiased_cka).mean().item(),
                "unlearned": self._to_references(self.after, place, debiased_cka).mean().item(),
            }
            among = self._among(place, debiased_cka)
            told |= {"retrained": sum(among) / len(among)} if among else {}
            rows += [(place, value, model) for model, value in told.items()]
        columns = dict(
            zip(("layer", "CKA", "model"), map(list, zip(*rows, strict=True)), strict=True)
        )
        title = f"How alike the {self.which} set looks to retrained models"
        return Exhibit("bars", title, columns, x="layer", y="CKA", by="model")

    @property
    def _models(self) -> list[Mapping[str, Form]]:
        return [self.before, self.after, *self.theirs]


_DISAGREE = (
    "; CKA and distance disagree on whether it is nearer to retrained models than the original, "
    "so none should be read alone"
)
