"""Whether an answer that is never given any more still tells whom it belonged to.

A mask lowers one output for everybody alike. The class is never answered again, and it is all
there: among unseen samples, those of the class still have that output nearest to their best one,
and whoever reads the outputs has the class back, without any training, however deep the mask is.
How well the output ranks them is said in log odds: one of the class against one of others, so that
1 is 73 %, 3 is 95 % and 5 is 99.3 %.

Retrained models never learnt what the output is for, and still it is higher for what looks like the
class, by what they learnt instead. So theirs is the yardstick, and not zero.

No pass: answers that were taken already are read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import log
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra.differences import model_difference
from expunge.algebra.statistics import Interval, auc
from expunge.errors import MissingInput
from expunge.metric import Measurement, Metric, Trial
from expunge.observing import Snapshot
from expunge.tasks import Kind

_NAME = "silenced answer (log odds)"
_FEWEST = 10  # samples of a side; of fewer the odds are not known

Sides = tuple[Float[Tensor, " m"], Float[Tensor, " n"]]


@dataclass(frozen=True)
class Silenced(Metric):
    """How well the output of a removed class still tells who is of it, against the references'."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    margin: float = 2.0  # log odds from the references' mean that would not matter

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        removed = trial.after.removed
        if not removed:
            raise MissingInput("no class was removed, so no answer was silenced")
        for label in removed:
            whose = "removed classes" if len(removed) == 1 else f"removed class {label}"
            name = f"{_NAME}, {whose}"
            yield Measurement.attempt(name, partial(self._one, trial, name, label))

    def _one(self, trial: Trial, name: str, label: int) -> Measurement:
        inside, outside = _sides(trial.after, label)
        if min(len(inside), len(outside)) < _FEWEST:
            raise MissingInput(
                f"{len(inside)} unseen samples of class {label} and {len(outside)} of kept classes "
                f"are too few to rank: it takes {_FEWEST} of each"
            )
        found = _odds(trial.after, label)
        comparison, control, selftest = trial.contrasts(
            lambda seen: torch.tensor([_odds(seen, label).value]), model_difference, self.margin
        )
        return Measurement(
            name,
            found.value,
            "match",
            (found.low, found.high),
            n=len(inside),
            original=_odds(trial.before, label),
            target=trial.targets(lambda seen: _odds(seen, label).value),
            comparison=comparison,
            control=control,
            selftest=selftest,
            note=f"scored on {len(inside)} test samples of the class against {len(outside)}",
        )


def _sides(seen: Snapshot, label: int) -> Sides:
    """How near the output is to the best kept one: for test samples of the class, and of others."""
    of_it, of_others = seen.only_of(label), seen.test_kept
    inside, outside = (_nearness(x.logits, seen.removed, label) for x in (of_it, of_others))
    return inside, outside


def _nearness(
    logits: Float[Tensor, "n c"], removed: tuple[int, ...], label: int
) -> Float[Tensor, " n"]:
    stays = torch.ones(logits.shape[1], dtype=torch.bool)
    stays[list(removed)] = False
    return logits[:, label].double() - logits[:, stays].double().amax(1)


def _odds(seen: Snapshot, label: int) -> Interval:
    """The AUC and its interval as log odds; what cannot be told from one counts half a pair."""
    inside, outside = _sides(seen, label)
    found, least = auc(inside, outside), 0.5 / (len(inside) * len(outside))

    def odds(share: float) -> float:
        share = min(max(share, least), 1 - least)
        return log(share / (1 - share))

    return Interval(odds(found.value), odds(found.low), odds(found.high))
