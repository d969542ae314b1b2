"""Mean loss on the forget, retain and test sets: the one utility that every task has.

Where a class was removed, the test set is that of the kept classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor

import torch
from torch import Tensor

from expunge.algebra.differences import mean_difference
from expunge.algebra.statistics import mean_interval
from expunge.attack import exchangeable
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Goal, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot

Pick = Callable[[Snapshot], Observation]

_LEAST = 1e-6  # a smaller loss is as good as none
_FEW = 5  # a histogram of fewer samples would tell about each of them
_MOST = 16  # bins


@dataclass(frozen=True)
class Loss(Metric):
    """Mean loss, beside the original's and the references'."""

    relative_margin: float = 0.1  # of the references' loss; a rise within it is no loss of use

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if len(trial.after.forget):
            exhibit = _histograms(trial)
            yield self._one(trial, "forget loss", lambda s: s.forget, "match", exhibit)
        yield self._one(trial, "retain loss", lambda s: s.retain, "lower")
        if trial.after.removed:
            yield self._one(trial, "test loss, kept classes", lambda s: s.test_kept, "lower")
        else:
            yield self._one(trial, "test loss", lambda s: s.test, "lower")

    def _one(
        self, trial: Trial, name: str, pick: Pick, goal: Goal, exhibit: Exhibit | None = None
    ) -> Measurement:
        def losses(snapshot: Snapshot) -> Tensor:
            return pick(snapshot).losses

        target = trial.targets(lambda s: losses(s).mean().item())
        margin = self.relative_margin * sum(target) / max(1, len(target))
        comparison, control, selftest = trial.contrasts(losses, mean_difference, margin)
        found, before = mean_interval(losses(trial.after)), mean_interval(losses(trial.before))
        several = len(losses(trial.after)) > 1
        return Measurement(
            name,
            found.value,
            goal,
            (found.low, found.high) if several else None,
            n=len(losses(trial.after)),
            original=before if several else None,
            target=target,
            comparison=comparison,
            control=control,
            selftest=selftest,
            exhibit=exhibit,
        )


def _histograms(trial: Trial) -> Exhibit | None:
    """Losses of forgotten and of comparable unseen samples: shares of each bin, nobody's own."""
    models = {"original": [trial.before], "unlearned": [trial.after]}
    if trial.snapshots:
        models["retrained"] = list(trial.snapshots)
    if len(trial.after.forget) < _FEW:
        return None
    try:
        found = {
            (name, group): losses
            for name, snapshots in models.items()
            for group, losses in _losses(snapshots).items()
        }
    except MissingInput:  # no unseen sample is comparable, so there is no picture
        return None
    edges = _edges(list(found.values()))
    rows = [
        (_label(edge), group, name, share)
        for (name, group), losses in found.items()
        for edge, share in zip(edges, _shares(losses, edges), strict=True)
    ]
    labels, groups, names, shares = zip(*rows, strict=True)
    columns = {
        "loss": list(labels),
        "share": list(shares),
        "samples": list(groups),
        "model": list(names),
    }
    title = "Losses of forgotten and of unseen samples"
    return Exhibit("bars", title, columns, x="loss", y="share", by="samples")


def _losses(snapshots: Sequence[Snapshot]) -> dict[str, Tensor]:
    pairs = [exchangeable(snapshot) for snapshot in snapshots]
    return {
        "forgotten": torch.cat([member.losses for member, _ in pairs]),
        "unseen": torch.cat([unseen.losses for _, unseen in pairs]),
    }


def _edges(losses: Sequence[Tensor]) -> list[float]:
    """Powers of ten, or half of them where that is not too many, where each bin starts."""
    logs = torch.cat([values.clamp_min(_LEAST) for values in losses]).log10()
    low, high = logs.min().item(), logs.max().item()
    step = 0.5 if high - low < _MOST / 2 - 1 else 1.0
    first = floor(low / step)
    return [place * step for place in range(first, max(ceil(high / step), first + 1))]


def _shares(losses: Tensor, edges: Sequence[float]) -> list[float]:
    logs = losses.clamp_min(_LEAST).log10()
    bins = torch.bucketize(logs, torch.tensor(edges[1:], dtype=logs.dtype), right=True)
    counts = torch.bincount(bins, minlength=len(edges))
    return (counts.double() / len(losses)).tolist()


def _label(edge: float) -> str:
    """Where a bin starts, to one digit: ``0.003``."""
    return f"{float(f'{10**edge:.0e}'):.6f}".rstrip("0").rstrip(".")
