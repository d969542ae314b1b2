"""Can the forgotten samples be told from unseen ones without any model having seen either?

A membership attack compares forgotten samples with unseen ones. Where these differ by themselves,
other people, another camera, another year, an attack may tell them apart by that, and its AUC says
nothing about memory. So a judge looks at the inputs alone: a linear probe and a forest, together,
each sample ranked by judges who never saw it. If the interval of that AUC leaves out one half, the
two groups are not exchangeable, and attacks that compare them are confounded. A difference to
retrained models, who face the same two groups, is what then can still be read.

Inputs are seen along the directions in which they differ most, and by mean, spread, least and
largest number. What is no tensor of numbers is seen through an untrained model.

No pass over the data but to read at most ``rows`` samples of each side; some seconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from expunge.algebra.crossing import crossed_auc, forest, hyperplane
from expunge.algebra.geometry import principal
from expunge.algebra.guessing import Standard
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import Interval
from expunge.attack import exchangeable
from expunge.batching import Batches
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import BATCH, device_of, observe
from expunge.representing import Shown, inputs_of, untrained
from expunge.splitting import Data, Part

NAME = "blind baseline AUC"


@dataclass(frozen=True)
class Blind(Metric):
    """AUC of a judge who sees inputs alone, and no model: one half where attacks are fair."""

    rows: int = 1000  # samples of each side, at most
    folds: int = 5  # parts of the samples, each ranked by judges of the others
    trees: int = 50  # of a forest
    directions: int = 32  # along which inputs are seen
    build: Callable[[], nn.Module] | None = None  # makes an untrained model, where inputs need one

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        for whose, about in trial.requested():
            yield Measurement.attempt(NAME + whose, partial(self._one, about, NAME + whose))

    def _one(self, trial: Trial, name: str) -> Measurement:
        split, (member, unseen) = trial.outcome.split, exchangeable(trial.after)
        fewest = min(len(member), len(unseen))
        if fewest < self.folds:
            raise MissingInput(
                f"a judge of {self.folds} parts needs as many samples of each side, "
                f"and there are {fewest}"
            )
        sides = ((split.retain.source, member.ids), (split.test.source, unseen.ids))
        seen = [self._seen(trial, source, ids[drawn(ids, self.rows)]) for source, ids in sides]
        inside, outside = self._told(*seen).split([len(rows) for rows in seen])
        found = crossed_auc(
            inside, outside, self.folds, (hyperplane, partial(forest, trees=self.trees))
        )
        return Measurement(
            name,
            found.value,
            "lower",
            (found.low, found.high),
            n=len(inside),
            note=f"{len(inside)} forgotten samples against {len(outside)} unseen ones"
            + (_CONFOUNDED if _confounded(found) else ""),
        )

    def _seen(self, trial: Trial, source: Data, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The inputs as rows of numbers, or what an untrained model makes of them."""
        task, part = trial.outcome.task, Part(source, ids)
        try:
            return inputs_of(Shown(part), task)
        except MissingInput:
            if self.build is None:
                raise
        fresh = untrained(self.build, device_of(trial.outcome.after))
        seen = observe(fresh, Batches(part, BATCH, device=device_of(fresh)), task, features=True)
        return next(iter(seen.features.values()), seen.logits.flatten(1))

    def _told(self, inside: Float[Tensor, "m d"], outside: Float[Tensor, "n d"]) -> Tensor:
        """Few numbers of every row: where it lies, and how its own numbers are spread."""
        rows = torch.cat([inside, outside]).double()
        least, most = rows.aminmax(dim=1)
        spread = rows.std(1, correction=0)
        known = Standard.of(rows)(rows)
        flat = (
            known
            if known.shape[1] <= self.directions
            else known @ principal(known, self.directions)
        )
        return torch.cat([flat, torch.stack([rows.mean(1), spread, least, most], 1)], 1)


def _confounded(found: Interval) -> bool:
    """Whether one half lies outside of the interval."""
    return not found.low <= _CHANCE <= found.high


_CHANCE = 0.5
_CONFOUNDED = (
    "; they differ without any model: a membership attack on them is confounded, and only its "
    "difference to retrained models can be read"
)
