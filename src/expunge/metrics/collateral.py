"""Who pays for it: the class, the neighbours and the members that unlearning hits beside its aim.

A mean over a test set hides a class that was lost, and samples that lie near the forgotten ones.
So the class that stays and loses most is named; what the nearest samples that stay lose is told, by
the original's features, less what all others lose; and how well an attack tells samples that stay
from unseen ones is measured anew, since forgetting some may expose others.

Of many classes one is always worst by chance: its interval is as wide as is due for the number of
classes (Bonferroni), and what the worst-hit class of every retrained model loses stands beside it.
The snapshots hold what is needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from expunge.algebra.differences import auc_difference
from expunge.algebra.geometry import cosine_distances
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import LEVEL, auc, mean_interval, minus
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

_WORST = "accuracy lost in the worst-hit class"
_NEAR = "accuracy lost near the forget set"
_EXPOSED = "membership AUC of samples that stay"
_ASKED = 1000  # forgotten samples whose neighbours are looked for
_CHUNK = 1024  # rows whose distances are held at once
_LEAST = 5  # test samples, for a class to be looked at


@dataclass(frozen=True)
class Collateral(Metric):
    """The worst-hit class, the neighbours of the forget set, and the risk of who stays."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)
    features: ClassVar[bool] = True

    near: float = 0.05  # share of the samples that stay which are neighbours
    margin: float = 0.05  # how far from the references would not matter

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        yield Measurement.attempt(_WORST, lambda: _worst(trial))
        yield Measurement.attempt(_NEAR, lambda: self._near(trial))
        yield Measurement.attempt(_EXPOSED, lambda: self._exposed(trial))

    def _near(self, trial: Trial) -> Measurement:
        """What neighbours lose beyond others, in accuracy on samples that both were trained on."""
        near = self._neighbours(trial)
        if not near.any() or near.all():
            raise MissingInput("too few samples stay to tell neighbours from others")

        def lost(seen: Snapshot) -> tuple[Tensor, Tensor]:
            each = trial.before.retain.ordered.correct - seen.retain.ordered.correct
            return each[near], each[~near]

        def more(seen: Snapshot) -> float:
            inside, outside = lost(seen)
            return (inside.mean() - outside.mean()).item()

        inside, outside = (mean_interval(each) for each in lost(trial.after))
        found = minus(inside, outside)
        return Measurement(
            _NEAR,
            found.value,
            "lower",
            (found.low, found.high),
            n=int(near.sum()),
            target=trial.targets(more),
            note=f"{inside.value:.3f} lost by the {int(near.sum())} nearest samples that stay, "
            f"{outside.value:.3f} by all others",
        )

    def _neighbours(self, trial: Trial) -> Bool[Tensor, " n"]:
        """Whether a sample that stays is among the nearest to a forgotten one, in the original."""
        gone, kept = trial.before.forget, trial.before.retain.ordered
        if len(gone) == 0:
            raise MissingInput("nobody left the training set, so nobody is near to who left")
        asked = trial.embedding(gone.only(drawn(gone.ids, _ASKED)))
        nearest = torch.cat(
            [cosine_distances(x, asked).min(1).values for x in trial.embedding(kept).split(_CHUNK)]
        )
        count = round(self.near * len(kept))
        near = torch.zeros(len(kept), dtype=torch.bool)
        near[nearest.argsort(stable=True)[:count]] = True
        return near

    def _exposed(self, trial: Trial) -> Measurement:
        """An attack by the loss on samples that stay, against unseen ones of the same classes."""
        comparison, control, selftest = trial.contrasts(_risk, auc_difference, self.margin)
        found = auc(*_risk(trial.after))
        return Measurement(
            _EXPOSED,
            found.value,
            "match",
            (found.low, found.high),
            n=len(trial.after.retain),
            original=auc(*_risk(trial.before)),
            target=trial.targets(lambda seen: auc(*_risk(seen)).value),
            comparison=comparison,
            control=control,
            selftest=selftest,
            note="a threshold on the loss; above the original's, forgetting some exposed others",
        )


def _worst(trial: Trial) -> Measurement:
    before = _of_classes(trial.before)
    if not before:
        raise MissingInput(f"no class that stays has {_LEAST} test samples")
    level = 1 - (1 - LEVEL) / len(before)
    losses = _losses(before, trial.after)
    label = max(losses, key=lambda k: losses[k].mean().item())
    found = mean_interval(losses[label], level)
    usual = [_losses(before, seen) for seen in trial.snapshots]
    return Measurement(
        _WORST,
        found.value,
        "lower",
        (found.low, found.high),
        n=len(losses[label]),
        target=tuple(max(x.mean().item() for x in each.values()) for each in usual),
        note=f"class {label}, against the original; retrained models lose most in whichever class "
        "is theirs",
        exhibit=_bars(losses, usual),
    )


def _of_classes(seen: Snapshot) -> dict[int, Observation]:
    """The test samples of every class that stays, but for the rarest."""
    test = (seen.test_kept if seen.removed else seen.test).ordered
    found = {k: test.only(test.labels == k) for k in test.labels.unique().tolist()}
    return {label: part for label, part in found.items() if len(part) >= _LEAST}


def _losses(before: Mapping[int, Observation], seen: Snapshot) -> dict[int, Tensor]:
    """What every class loses, sample by sample."""
    after = _of_classes(seen)
    return {label: part.correct - after[label].correct for label, part in before.items()}


def _bars(ours: Mapping[int, Tensor], theirs: Sequence[Mapping[int, Tensor]]) -> Exhibit:
    columns: dict[str, list[Any]] = {"class": [], "accuracy lost": [], "model": []}
    for label, lost in ours.items():
        told = {"unlearned": lost.mean().item()}
        if theirs:
            told["retrained"] = sum(each[label].mean().item() for each in theirs) / len(theirs)
        columns["class"] += [str(label)] * len(told)
        columns["accuracy lost"] += told.values()
        columns["model"] += told.keys()
    title = "Test accuracy lost by class, against the original"
    return Exhibit("bars", title, columns, x="class", y="accuracy lost", by="model")


def _risk(seen: Snapshot) -> tuple[Tensor, Tensor]:
    """How little is lost on samples that stay, and on unseen ones of the same classes."""
    unseen = seen.test_kept if seen.removed else seen.test
    return -seen.retain.ordered.losses, -unseen.ordered.losses
