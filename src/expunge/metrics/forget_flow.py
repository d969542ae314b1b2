"""Where the forgotten samples go: which classes the model says instead, beside retrained models.

A model that never saw a class spreads its samples over the classes that resemble them. A method
that pushes them all into one class, or evenly over all, differs from that although its accuracy
on them may be the same. The picture shows the shares; the number is the Jensen-Shannon divergence
between the model's shares and the references' mean, in bits: 0 is the same, 1 is nothing shared.
The interval is by the delta method, with one imagined sample in each class, so it is wide where
classes are empty; the references' mean is taken as it stands. Even a retrained model is above
zero: what each reference scores against the others stands beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from scipy import stats
from torch import Tensor

from expunge.algebra.statistics import LEVEL, Interval, js_bits
from expunge.errors import MissingInput
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.observing import Observation, Snapshot
from expunge.tasks import Kind

_NAME = "forget-flow divergence (bits)"
_MOST = 20  # columns of a picture; the rest is shown together
_CLASSES = 6  # classes that leave; more are shown together


@dataclass(frozen=True)
class ForgetFlow(Metric):
    """Which classes the forgotten samples are given, and how far that is from retrained models."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        if len(trial.after.forget) == 0:
            raise MissingInput("nobody left the training set, so nobody went anywhere")
        found = Measurement.attempt(_NAME, lambda: _measured(trial))
        yield replace(found, exhibit=_matrix(trial))  # the picture needs no references


def _measured(trial: Trial) -> Measurement:
    theirs = [_shares(s.forget) for s in trial.compared.snapshots]
    voice, n = torch.stack(theirs).mean(0), len(trial.after.forget)
    found = _apart(_shares(trial.after.forget), voice, n)
    return Measurement(
        _NAME,
        found.value,
        "lower",
        (found.low, found.high),
        n=n,
        original=_apart(_shares(trial.before.forget), voice, n),
        target=_among(theirs),
    )


def _shares(seen: Observation) -> Tensor:
    """The share of samples that is given each class."""
    classes = seen.logits.shape[1]
    return seen.logits.argmax(1).bincount(minlength=classes).double() / len(seen)


def _apart(p: Tensor, q: Tensor, n: int) -> Interval:
    """Divergence of shares among ``n`` samples from fixed ones."""
    value = _bits(p, q)
    smooth = (n * p + 1) / (n + len(p))
    slope = (2 * smooth / (smooth + q)).log2() / 2
    spread = (smooth * slope.square()).sum() - (smooth * slope).sum().square()
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * (spread.clamp_min(0).item() / n) ** 0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _among(shares: Sequence[Tensor]) -> tuple[float, ...]:
    """What each reference scores against the mean of the others."""
    if len(shares) < 2:
        return ()
    total = torch.stack([*shares]).sum(0)
    return tuple(_bits(own, (total - own) / (len(shares) - 1)) for own in shares)


def _bits(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence; rounding must not make it negative."""
    return min(1.0, max(0.0, js_bits(p[None], q[None]).item()))


def _matrix(trial: Trial) -> Exhibit:
    """Models down and answers across; with several classes, such rows for each of them."""
    models: dict[str, Sequence[Snapshot]] = {"original": [trial.before], "unlearned": [trial.after]}
    if trial.snapshots:
        models["retrained"] = trial.snapshots
    labels = trial.after.forget.labels.unique().tolist()
    several = len(trial.after.removed) > 1 and len(labels) <= _CLASSES
    flows = {
        name if label is None else f"class {label}, {name}": _mean_flow(snapshots, label)
        for label in (labels if several else [None])
        for name, snapshots in models.items()
    }
    across, down = "predicted class", "true class and model" if several else "model"
    columns: dict[str, list[Any]] = {across: [], down: [], "share": []}
    for name, flow in _cut(flows).items():
        columns[across] += flow.keys()
        columns[down] += [name] * len(flow)
        columns["share"] += flow.values()
    title = "Which class the forgotten samples are given"
    return Exhibit("matrix", title, columns, x=across, y=down)


def _mean_flow(snapshots: Sequence[Snapshot], label: int | None) -> Tensor:
    parts = [s.forget if label is None else s.forget.only(s.forget.labels == label)
             for s in snapshots]  # fmt: skip
    return torch.stack([_shares(part) for part in parts]).mean(0)


def _cut(flows: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
    """The classes that anybody is sent to; where they are many, the rarer ones together."""
    height = torch.stack([*flows.values()]).max(0).values
    order = height.argsort(descending=True, stable=True).tolist()
    met = [k for k in order if height[k] > 0]
    places, rest = sorted(met[:_MOST]), met[_MOST:]
    found = {row: {str(k): flow[k].item() for k in places} for row, flow in flows.items()}
    for row, flow in flows.items() if rest else ():
        found[row]["other"] = flow[rest].sum().item()
    return found
