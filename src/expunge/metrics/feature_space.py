"""Where the forgotten samples lie in the feature space, before and after, beside retrained models.

Distances are cosine distances to centroids of the classes. Each model has its own centroids, from
its own features of the samples that stay; a class of which nothing stays has the mean of its
forgotten samples. The nearest other class *of the original* is where centroid-based methods send
a sample, so its distance has a line of its own. Silhouette and neighbours tell whether what was
forgotten still lies together: a class that left the answers but stays one cluster is hidden, not
forgotten. Distances and silhouette see all samples, neighbours a fixed draw of the forgotten ones.

The map is for the eye alone, and names nobody unless it is asked to. The unlearned model's
features are turned onto the original's by orthogonal Procrustes, fitted on samples that stay,
because a rotation of the features means nothing. No pass over the data is made: the snapshots
hold all that is needed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from expunge.algebra.differences import mean_difference
from expunge.algebra.geometry import (
    centroids,
    cosine_distances,
    principal,
    procrustes,
    purities,
    silhouettes,
)
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import Interval, mean_interval
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Snapshot
from expunge.tasks import Kind

Map = Literal["pca", "tsne"]

_ASKED = 500  # forgotten samples whose neighbours are looked for
_FITTED = 600  # samples that stay, on which one model's features are turned onto another's
_AXES = 64  # directions that are kept before anything is turned
_FEW = 5  # a map of fewer forgotten samples would tell about each of them
_SHOWN = 150  # forgotten samples on a map, and as many that stay


@dataclass(frozen=True)
class FeatureSpace(Metric):
    """Distances, silhouette and neighbours of the forgotten samples' features, and a map of them.

    Made for models whose features mean something by their direction, as those before a last
    linear layer do.
    """

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    features: ClassVar[bool] = True

    margin: float = 0.05  # how far from the references' mean would not matter
    neighbours: int = 15  # how many of the nearest training samples are asked for their class
    positions: bool = False  # whether a map tells the position of every sample in the data
    map: Map = "pca"  # how features become two numbers; ``tsne`` needs the package openTSNE

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if self.map == "tsne" and find_spec("openTSNE") is None:
            raise MissingInput(
                "a map by t-SNE needs the package openTSNE, which is not installed",
                hint="pip install expunge[tsne], or keep map='pca'.",
            )
        before = _placed(trial, trial.before)
        after = _placed(trial, trial.after)
        rivals = before.to_others.argmin(1)
        looks = {seen: self._looked(_placed(trial, seen), rivals) for seen in trial.snapshots}
        looks |= {trial.before: self._looked(before, rivals)}
        looks |= {trial.after: self._looked(after, rivals)}
        for name in looks[trial.after]:
            found = self._one(trial, name, {seen: look[name] for seen, look in looks.items()})
            shown = name == _SILHOUETTE and before.left >= _FEW
            yield replace(found, exhibit=self._mapped(before, after) if shown else None)

    def _one(self, trial: Trial, name: str, looks: Mapping[Snapshot, Tensor]) -> Measurement:
        comparison, control, selftest = trial.contrasts(
            looks.__getitem__, mean_difference, self.margin
        )
        values, before = looks[trial.after], looks[trial.before]
        several, found = len(values) > 1, _interval(name, values)
        more = comparison is not None and comparison.difference.low > 0
        return Measurement(
            name,
            found.value,
            "match",
            (found.low, found.high) if several else None,
            n=len(values),
            original=_interval(name, before) if several else None,
            target=trial.targets(lambda seen: looks[seen].mean().item()),
            comparison=comparison,
            control=control,
            selftest=selftest,
            note=_TOGETHER if more and name == _SILHOUETTE else "",
        )

    def _looked(self, placed: "_Placed", rivals: Tensor) -> dict[str, Tensor]:
        """One number a forgotten sample, for every question."""
        return {
            "distance to own class (cosine)": placed.to_own,
            "distance to nearest other class (cosine)": placed.to_others.min(1).values,
            "distance to the original's nearest other class (cosine)": (
                placed.to_others.gather(1, rivals[:, None])[:, 0]
            ),
            _SILHOUETTE: placed.silhouettes,
            _NEIGHBOURS: placed.purities(self.neighbours),
        }

    def _mapped(self, before: "_Placed", after: "_Placed") -> Exhibit:
        """The same few samples in both models, on one pair of axes."""
        gone = drawn(before.ids[: before.left], _SHOWN)
        kept = before.left + drawn(before.ids[before.left :], _FITTED)
        rows, few = torch.cat([gone, kept]), min(len(kept), _SHOWN)
        there, here = _turned(before.x[rows], after.x[rows], len(gone))
        order = torch.cat([len(gone) + torch.arange(few), torch.arange(len(gone))])
        flat = _flat(torch.cat([there[order], here[order]]), self.map)
        shown, size = rows[order], len(order)  # the forgotten ones last, so that they lie on top
        first, second = (f"{word} {_AXIS[self.map]}" for word in ("first", "second"))
        columns: dict[str, list[Any]] = {
            first: [round(v, 4) for v in flat[:, 0].tolist()],
            second: [round(v, 4) for v in flat[:, 1].tolist()],
            "samples": (["kept"] * few + ["forgotten"] * len(gone)) * 2,
            "model": ["original"] * size + ["unlearned"] * size,
            "class": before.labels[shown].tolist() * 2,
        }
        if self.positions:
            columns["sample"] = before.ids[shown].tolist() * 2
        title = "Where forgotten and kept samples lie in the feature space"
        return Exhibit("points", title, columns, x=first, y=second, by="samples")


_SILHOUETTE = "silhouette of the forget set (cosine)"
_TOGETHER = "the forgotten samples still lie closer to their class than in retrained models"
_NEIGHBOURS = "neighbours of the same class"
_RANGE = {_SILHOUETTE: (-1.0, 1.0), _NEIGHBOURS: (0.0, 1.0)}  # distances go from 0 to 2


def _interval(name: str, values: Tensor) -> Interval:
    """The mean and its interval, within what is possible."""
    found, (least, most) = mean_interval(values), _RANGE.get(name, (0.0, 2.0))
    return Interval(found.value, max(least, found.low), min(most, found.high))


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """The training samples of one model in its feature space: those that stay come last."""

    x: Tensor
    labels: Tensor
    ids: Tensor
    left: int  # how many were forgotten; they come first
    classes: int

    @property
    def to_own(self) -> Tensor:
        own = self._distances.gather(1, self.labels[: self.left, None])
        return own[:, 0]

    @property
    def to_others(self) -> Tensor:
        """Distances to every class of which something stays, but for a sample's own."""
        stay = self.labels[self.left :].bincount(minlength=self.classes) > 0
        own = self.labels[: self.left, None] == torch.arange(self.classes)
        barred = own | ~stay
        if bool(barred.all(1).any()):
            raise MissingInput("no other class stays, so nothing can be near to another class")
        return self._distances.masked_fill(barred, torch.inf)

    @property
    def silhouettes(self) -> Tensor:
        return silhouettes(self.x, self.labels, self.classes)[: self.left]

    def purities(self, k: int) -> Tensor:
        return purities(self.x, self.labels, drawn(self.ids[: self.left], _ASKED), k)

    @property
    def _distances(self) -> Tensor:
        stay = self.labels[self.left :].bincount(minlength=self.classes) > 0
        gone, kept = self.x[: self.left], self.x[self.left :]
        own = centroids(gone, self.labels[: self.left], self.classes)
        centres = centroids(kept, self.labels[self.left :], self.classes)
        return cosine_distances(gone, torch.where(stay[:, None], centres, own)).double()


def _placed(trial: Trial, seen: Snapshot) -> _Placed:
    """Both training sets in the order of their ids, so that no other order can matter."""
    if len(seen.forget) == 0:
        raise MissingInput("nobody left the training set, so no features are to be looked at")
    parts = [part.only(part.ids.argsort()) for part in (seen.forget, seen.retain)]
    return _Placed(
        torch.cat([trial.embedding(part) for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.ids for part in parts]),
        len(seen.forget),
        seen.forget.logits.shape[1],
    )


_AXIS: dict[Map, str] = {"pca": "principal direction", "tsne": "t-SNE direction"}


def _turned(there: Tensor, here: Tensor, left: int) -> tuple[Tensor, Tensor]:
    """Both models about the mean of what stays, the second turned onto the first."""
    there, here = (x.double() - x[left:].double().mean(0) for x in (there, here))
    axes = principal(torch.cat([there, here]), _AXES)
    there, here = there @ axes, here @ axes
    return there, here @ procrustes(here[left:], there[left:])


def _flat(x: Tensor, kind: Map) -> Tensor:
    if kind == "pca":
        return (x - x.mean(0)) @ principal(x, 2)
    tsne: Any = import_module("openTSNE")  # by name: it is optional
    perplexity = min(30.0, (len(x) - 1) / 3)
    drawing = tsne.TSNE(perplexity=perplexity, initialization="pca", random_state=0, n_jobs=1)
    return torch.tensor(drawing.fit(x.numpy()).tolist(), dtype=torch.double)
