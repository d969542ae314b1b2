"""What a linear probe still reads out of the features.

For removed classes the probe learns, on training samples, to tell the removed classes from the
kept ones, and is scored on the test set. Retrained models never saw the class, and their features
may well separate it all the same: chance is the wrong yardstick, the retrained models' own probes
are the right one. A mask over logits, which fools every look at the answers, leaves the probe as
it was; where retrained models' probes are near one already, there is no room above them, and the
silhouette of the forget set tells more.

For single samples the probe tells forgotten samples from unseen ones of the same classes. Each
sample is scored by a probe that never saw it.

The interval of a class probe is that of the samples scored: how another draw of training samples
would move it is seen only where whole models are compared. Probes of single samples learn from each
other's, and their interval is as wide as that asks for (`expunge.algebra.crossing`).

One probe a model, on at most ``rows`` samples of each side; no pass over the data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from expunge.algebra.crossing import auc_of_crossed, crossed, hyperplane
from expunge.algebra.differences import auc_difference
from expunge.algebra.probing import probe
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import auc
from expunge.attack import exchangeable
from expunge.errors import MissingInput
from expunge.metric import Comparison, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

_CLASSES, _SAMPLES = "class-probe AUC", "membership-probe AUC"

Pair = tuple[Tensor, Tensor]
"""Scores of what the probe looks for, and of the rest."""


@dataclass(frozen=True)
class Probe(Metric):
    """AUC of a linear probe on the features, for removed classes or for removed samples."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    features: ClassVar[bool] = True

    rows: int = 2000  # training samples of each side; more are drawn from
    l2: float = 1e-3  # penalty on the probe's weights, beside the mean log-loss
    folds: int = 5  # parts of the samples, each scored by a probe of the others
    margin: float = 0.02  # how far from the references' AUC would not matter

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if len(trial.after.forget) == 0:
            raise MissingInput("nobody left the training set, so there is nothing to probe for")
        left = _left_as_class(trial.after)
        if bool(left.any()):
            yield self._tried(trial, _CLASSES, self._of_classes)
        if not bool(left.all()):
            alone = trial.about(trial.after.forget.ids[~left])
            yield self._tried(alone, _SAMPLES, self._of_samples)

    def _tried(
        self, trial: Trial, name: str, scores: Callable[[Trial, Snapshot], Pair]
    ) -> Measurement:
        return Measurement.attempt(name, lambda: self._one(trial, name, scores))

    def _one(
        self, trial: Trial, name: str, scores: Callable[[Trial, Snapshot], Pair]
    ) -> Measurement:
        @cache  # a probe is asked for several times, and takes a moment
        def read(snapshot: Snapshot) -> Pair:
            return scores(trial, snapshot)

        comparison, control, selftest = trial.contrasts(read, auc_difference, self.margin)
        ranked = auc if name == _CLASSES else auc_of_crossed
        found = ranked(*read(trial.after))
        inside, outside = (len(side) for side in read(trial.after))
        return Measurement(
            name,
            found.value,
            "match",
            (found.low, found.high),
            n=inside,
            original=ranked(*read(trial.before)),
            target=trial.targets(lambda s: auc(*read(s)).value),
            comparison=comparison,
            control=control,
            selftest=selftest,
            note=_SCORED[name].format(inside=inside, outside=outside) + _told(name, comparison),
        )

    def _of_classes(self, trial: Trial, seen: Snapshot) -> Pair:
        gone = self._some(trial, seen.forget.only(_left_as_class(seen)))
        kept = self._some(trial, seen.retain)
        group = torch.arange(len(gone) + len(kept)) < len(gone)
        found = probe(torch.cat([gone, kept]), group, self.l2)
        removed, others = (
            trial.embedding(part.only(part.ids.argsort()))
            for part in (seen.test_removed, seen.test_kept)
        )
        return found.scores(removed), found.scores(others)

    def _of_samples(self, trial: Trial, seen: Snapshot) -> Pair:
        member, unseen = (self._some(trial, part) for part in exchangeable(seen))
        fewest = min(len(member), len(unseen))
        if fewest < self.folds:
            raise MissingInput(
                f"a probe of {self.folds} folds needs as many samples of each side, "
                f"and there are {fewest}"
            )
        return crossed(member, unseen, self.folds, partial(hyperplane, l2=self.l2))

    def _some(self, trial: Trial, seen: Observation) -> Tensor:
        """Features of at most ``rows`` samples, shuffled, the same ones for every model."""
        if len(seen) == 0:
            raise MissingInput("no training sample stays, so a probe has nothing to compare with")
        return trial.embedding(seen.only(drawn(seen.ids, self.rows)))


_SCORED = {
    _CLASSES: "scored on {inside} test samples of removed classes against {outside}",
    _SAMPLES: "{inside} forgotten samples against {outside} unseen ones of the same "
    "classes, each scored by a probe that never saw it",
}

_MORE = {
    _CLASSES: "; the features still separate the class more than retrained models' do: "
    "hidden, not forgotten",
    _SAMPLES: "; the features still give the forgotten samples away more than retrained models' do",
}


def _told(name: str, comparison: Comparison | None) -> str:
    more = comparison is not None and comparison.difference.low > 0
    return _MORE[name] if more else ""


def _left_as_class(seen: Snapshot) -> Tensor:
    """Which forgotten samples left because their whole class did."""
    return torch.isin(seen.forget.labels, torch.tensor(seen.removed, dtype=torch.long))
