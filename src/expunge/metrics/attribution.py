"""What in the inputs an answer rests on: integrated gradients of the true class's logit.

For a removed class, test samples of it are looked at; otherwise forgotten samples. Maps of absolute
attributions are compared by rank; beside the unlearned model's stand the original's and, where two
references are looked at, that of two retrained models. Two checks come along: attributions must
add up to what the logit gains from the baseline; and where shuffled weights give the same maps,
the maps tell about the inputs and not about the model. All of it describes, and decides nothing.

A pass goes through every model for every step. Maps of fewer than five samples would show these
samples, and are kept only where samples themselves may be shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.picturing import heat, picture
from expunge.algebra.statistics import Interval, mean_interval
from expunge.errors import BadSetting, MissingInput
from expunge.looking import Look, Scene, inputs_of, read, shuffled
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import BATCH
from expunge.splitting import Data
from expunge.tasks import Kind

Looks = dict[str, tuple[Look, ...]]

_FEW = 5  # a mean of fewer samples would tell about each of them
_SHOWN = 6  # samples in pictures
_CELLS, _BARS = 16, 20  # of a heat map's side, and of the strongest features
_UNCHANGED = 0.5  # rank correlation above which shuffled weights leave a map much as it was
_LEAST = torch.finfo(torch.double).tiny


@dataclass(frozen=True)
class Attribution(Metric):
    """What in the inputs the true class's logit rests on, compared with the references' maps."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    samples: int = 32  # how many are looked at, evenly spaced over those that could be
    steps: int = 32  # points between the baseline and a sample
    baseline: Literal["mean", "zero"] = "mean"  # where attributions start: mean of retained inputs
    references: int = 2  # retrained models that are looked at; two tell how alike two are
    region: tuple[int, int, int, int] | None = None  # rows from, to, columns from, to; None: whole
    tolerance: float = 0.05  # of the sum of attributions; beyond it, take more steps
    with_samples: bool = False  # whether pictures of single samples go into evidence and report

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        self._check()
        scene = self._scene(trial)
        looks = self._looks(trial, scene)
        name = "attribution rank correlation"
        likeness = Measurement.attempt(name, lambda: _likeness(name, looks))
        yield replace(likeness, exhibit=self._exhibit(looks))
        name = "attribution sanity (randomised weights)"
        yield Measurement.attempt(name, lambda: self._sanity(name, trial, scene, looks))
        yield self._completeness(looks)
        if self.region is not None:
            name = "attribution mass in the region"
            yield Measurement.attempt(name, lambda: self._mass(name, looks))

    def _check(self) -> None:
        for name in ("samples", "steps", "references"):
            if getattr(self, name) < 1:
                raise BadSetting(f"{name} is {getattr(self, name)}", hint=f"{name} is 1 or more.")

    def _scene(self, trial: Trial) -> Scene:
        task = trial.outcome.task
        source, ids = _asked_about(trial)
        batches = read(source, ids.sort().values[_spaced(len(ids), self.samples)], task)
        if self.baseline == "zero":
            return Scene(batches, torch.zeros_like(inputs_of(task, batches[0])[0]), task)
        retain = trial.outcome.split.retain
        stays = read(retain.source, retain.indices[_spaced(len(retain), BATCH)], task)
        return Scene(batches, torch.cat([inputs_of(task, b) for b in stays]).mean(0), task)

    def _looks(self, trial: Trial, scene: Scene) -> Looks:
        models = {"original": trial.outcome.before, "unlearned": trial.outcome.after}
        found = {name: (scene.look(model, self.steps),) for name, model in models.items()}
        members = () if trial.references is None else trial.references.members
        retrained = tuple(scene.look(m.load(), self.steps) for m in members[: self.references])
        return found | ({"retrained": retrained} if retrained else {})

    def _exhibit(self, looks: Looks) -> Exhibit | None:
        if len(looks["unlearned"][0].values) < _FEW and not self.with_samples:
            return None
        try:
            return _heat_maps(looks)
        except MissingInput:
            return _bars(looks)

    def _sanity(self, name: str, trial: Trial, scene: Scene, looks: Looks) -> Measurement:
        other = scene.look(shuffled(trial.outcome.after), self.steps)
        values = _known(looks["unlearned"][0].likeness([other]))
        found, span = _told(values)
        note = "the maps stay alike when weights are shuffled: they tell about the inputs"
        return Measurement(
            name,
            found.value,
            "lower",
            span,
            n=len(values),
            note=f"{note}, not about the model" if found.value > _UNCHANGED else "",
            exhibit=_pictures(scene, looks, other) if self.with_samples else None,
        )

    def _completeness(self, looks: Looks) -> Measurement:
        gap = max(look.gap for found in looks.values() for look in found)
        note = f"attributions miss their sum by more than {self.tolerance:g}: take more than"
        return Measurement(
            "attribution completeness error",
            gap,
            "lower",
            n=len(looks["unlearned"][0].values),
            note=f"{note} {self.steps} steps" if gap > self.tolerance else "",
        )

    def _mass(self, name: str, looks: Looks) -> Measurement:
        shares = {key: [self._inside(look) for look in found] for key, found in looks.items()}
        (values,), (before,) = shares["unlearned"], shares["original"]
        found, span = _told(values)
        return Measurement(
            name,
            found.value,
            "match",
            span,
            n=len(values),
            original=_told(before)[0] if span else None,
            target=tuple(rows.mean().item() for rows in shares.get("retrained", ())),
        )

    def _inside(self, look: Look) -> Float[Tensor, " n"]:
        """Share of every map that lies in the region."""
        maps = look.maps.double()
        top, bottom, left, right = self.region or (0, 0, 0, 0)
        height, width = maps.shape[1:]
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise BadSetting(
                f"the region {self.region} does not lie in maps of {height} rows and "
                f"{width} columns",
                hint="write the first row, the row after the last, and the same of columns.",
            )
        return _known(maps[:, top:bottom, left:right].sum((1, 2)) / maps.sum((1, 2)))


def _asked_about(trial: Trial) -> tuple[Data, Int[Tensor, " n"]]:
    """Where the samples are, and which of them: test samples of a removed class, or forgotten."""
    split, seen = trial.outcome.split, trial.after
    if seen.removed:
        return split.test.source, seen.test_removed.ids
    if len(seen.forget) == 0:
        raise MissingInput("no sample was forgotten whose attributions could be looked at")
    return split.forget.source, seen.forget.ids


def _spaced(size: int, most: int) -> Int[Tensor, " m"]:
    return torch.linspace(0, size - 1, min(size, most)).round().long()


def _likeness(name: str, looks: Looks) -> Measurement:
    if "retrained" not in looks:
        raise MissingInput("no reference model was given")
    first, *others = looks["retrained"]
    after, before = (
        _known(looks[model][0].likeness([first, *others])) for model in ("unlearned", "original")
    )
    found, span = _told(after)
    alone = "" if others else "one retrained model was looked at: how alike two are is not known"
    return Measurement(
        name,
        found.value,
        "higher",
        span,
        n=len(after),
        original=_told(before)[0] if len(before) > 1 else None,
        target=tuple(_known(first.likeness([other])).mean().item() for other in others),
        note=alone,
    )


def _known(values: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
    """Without samples whose map is constant: they have no ranks and no shares."""
    values = values[~values.isnan()]
    if len(values) == 0:
        raise MissingInput("the attributions of every sample are constant: nothing stands out")
    return values


def _told(values: Float[Tensor, " n"]) -> tuple[Interval, tuple[float, float] | None]:
    """The mean, and its interval where there are several values; neither lies beyond one."""
    found = mean_interval(values)
    found = Interval(found.value, max(-1.0, found.low), min(1.0, found.high))
    return found, (found.low, found.high) if len(values) > 1 else None


def _shares(parts: Float[Tensor, "n *d"]) -> Float[Tensor, "*d"]:
    """The share of every place in its sample's map, mean over samples."""
    flat = parts.double().flatten(1)
    return (flat / flat.sum(1, keepdim=True).clamp_min(_LEAST)).mean(0).view(parts.shape[1:])


def _heat_maps(looks: Looks) -> Exhibit:
    rows = []
    for name, found in looks.items():
        mean = torch.stack([_shares(look.maps) for look in found]).mean(0)
        height, width = (min(_CELLS, side) for side in mean.shape)
        cells = F.adaptive_avg_pool2d(mean[None], (height, width))[0]
        shares = cells / cells.sum().clamp_min(_LEAST)
        rows += [
            (column, row, round(share, 6), name)
            for row, line in enumerate(shares.tolist())
            for column, share in enumerate(line)
        ]
    columns = _columns(("column", "row", "attribution", "model"), rows)
    return Exhibit("matrix", "Where the answers look", columns, x="column", y="row")


def _bars(looks: Looks) -> Exhibit:
    means = {
        name: torch.stack([_shares(look.strengths) for look in found]).mean(0)
        for name, found in looks.items()
    }
    strongest = torch.stack([*means.values()]).amax(0).argsort(descending=True, stable=True)
    rows = [
        (str(feature), round(mean[feature].item(), 6), name)
        for feature in strongest[:_BARS].tolist()
        for name, mean in means.items()
    ]
    columns = _columns(("feature", "attribution", "model"), rows)
    title = "The inputs that the answers rest on most"
    return Exhibit("bars", title, columns, x="feature", y="attribution", by="model")


def _pictures(scene: Scene, looks: Looks, other: Look) -> Exhibit | None:
    """A few samples, each with its maps; nothing where samples are no pictures."""
    try:
        maps = {name: found[0].maps for name, found in looks.items()} | {"shuffled": other.maps}
    except MissingInput:
        return None
    inputs = scene.inputs.cpu()
    inputs = inputs.reshape(len(inputs), -1, *inputs.shape[-2:])
    rows = []
    for place in range(min(_SHOWN, len(inputs))):
        rows.append((str(place + 1), "input", picture(inputs[place])))
        rows += [(str(place + 1), name, heat(found[place])) for name, found in maps.items()]
    columns = _columns(("sample", "model", "picture"), rows)
    return Exhibit("pictures", "Samples and their maps", columns, x="model", y="sample")


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [*values] for name, values in zip(names, zip(*rows, strict=True), strict=True)}
