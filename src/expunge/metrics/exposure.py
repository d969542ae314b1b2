"""Who is exposed: forgotten samples that the model knows better than retrained models do.

An average can look innocent while a few unusual samples are remembered by heart. So every forgotten
sample is asked by itself how surely the model knows it, and is placed among the retrained models'
answers about the same sample, in units of how much these differ among themselves. Of retrained
models one in twenty samples stands out upwards by chance; each reference, placed among the others,
shows how many do here.

Five references place a sample roughly. Attacks that learn from shadow models place it better. It
costs nothing beyond the snapshots.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, isfinite

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from expunge.algebra.statistics import Interval, clopper_pearson, largest_interval
from expunge.attack import familiarity
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Snapshot

_BINS = 30
_FEWEST = 3  # references: with two, a reference could be placed among one other alone
_LISTED = 10  # samples that are named, by their number in the request


@dataclass(frozen=True)
class Exposure(Metric):
    """Share of forgotten samples that are known better than retrained models know them."""

    level: float = 0.05  # of retrained models' samples that would stand out by chance
    worst: float = 0.1  # share of the samples that is the worst

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        before, after = _known(trial.before), _known(trial.after)
        theirs = [_known(seen) for seen in trial.compared.snapshots]
        if len(theirs) < _FEWEST:
            raise MissingInput(
                f"{len(theirs)} references cannot show how much they differ about a sample",
                hint=f"retrain at least {_FEWEST}.",
            )
        others = [_placed(own, theirs[:k] + theirs[k + 1 :]) for k, own in enumerate(theirs)]
        placed = _placed(after, theirs), _placed(before, theirs), others
        yield self._share(*placed)
        yield self._decile(*placed)

    def _share(self, after: Tensor, before: Tensor, others: list[Tensor]) -> Measurement:
        def share(places: Tensor) -> Interval:
            return clopper_pearson(int((places > limit).sum()), len(places))

        limit = float(stats.t.ppf(1 - self.level, len(after) * (len(others) - 1)))
        found = share(after)
        return Measurement(
            "exposed samples among the forgotten",
            found.value,
            "match",
            (found.low, found.high),
            n=len(after),
            original=share(before),
            target=tuple(share(places).value for places in others),
            note=f"known better than by 95 of 100 retrained models; {self.level:.0%} by chance",
            exhibit=_histogram(after, before, others),
        )

    def _decile(self, after: Tensor, before: Tensor, others: list[Tensor]) -> Measurement:
        found, then = (largest_interval(places, self.worst) for places in (after, before))
        several = isfinite(found.high)
        listed = after.argsort(descending=True, stable=True)[:_LISTED]
        columns: dict[str, list[float | int | str | None]] = {
            "place": [*range(1, len(listed) + 1)],
            "sample of the request": [int(place) + 1 for place in listed],
        }
        return Measurement(
            f"standing of the most exposed {self.worst:.0%}",
            found.value,
            "match",
            (found.low, found.high) if several else None,
            n=max(1, ceil(self.worst * len(after))),
            original=then if several else None,
            target=tuple(largest_interval(places, self.worst).value for places in others),
            note="in deviations of retrained models; the most exposed samples are listed by their "
            "number in the request, in the order of the training set",
            exhibit=Exhibit("table", "The most exposed of the forgotten samples", columns),
        )


def _known(seen: Snapshot) -> Float[Tensor, " n"]:
    """How surely a model knows every sample that left by itself, in the order of the data."""
    gone = seen.forget.only(seen.forget.ids.argsort())
    if seen.removed and gone.kind == "classification":
        gone = gone.only(~torch.isin(gone.labels, torch.tensor(seen.removed)))
    if len(gone) == 0:
        raise MissingInput("no sample left by itself, so none can be exposed")
    return familiarity(gone)


def _placed(own: Float[Tensor, " n"], theirs: Sequence[Float[Tensor, " n"]]) -> Float[Tensor, " n"]:
    """Where every sample stands among the retrained models, in their deviations.

    The deviation is pooled over samples: a handful of models shows that of one sample badly.
    """
    told = torch.stack([*theirs])
    spread = told.var(0).mean().clamp_min(1e-12).sqrt()
    placed: Tensor = (own - told.mean(0)) / (spread * (1 + 1 / len(told)) ** 0.5)
    return placed


def _histogram(after: Tensor, before: Tensor, others: list[Tensor]) -> Exhibit:
    """How samples spread over standings; who they are is not told."""
    models = {"original": before, "unlearned": after, "retrained": torch.cat(others)}
    low = min(places.min().item() for places in models.values())
    high = max(places.max().item() for places in models.values())
    high = max(high, low + 1)
    columns: dict[str, list[float | int | str | None]] = {"standing": [], "share": [], "model": []}
    for name, places in models.items():
        counts = places.histc(_BINS, low, high)
        columns["standing"] += [low + (k + 0.5) * (high - low) / _BINS for k in range(_BINS)]
        columns["share"] += (counts / counts.sum()).tolist()
        columns["model"] += [name] * _BINS
    title = "How much better each forgotten sample is known than by retrained models"
    return Exhibit("curve", title, columns, x="standing", y="share", by="model")
