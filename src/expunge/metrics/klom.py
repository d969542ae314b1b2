"""How far the margins of many unlearned models are from those of many retrained ones.

Kullback-Leibler divergence of margins (KLoM; Georgiev and others, Attribute-to-Delete, 2025): what
every sample's margin is over models, unlearned and retrained, as two distributions. A method that
is right on average and another every time is not taken for retraining, as it would be on one model.

It depends on how many models there are, and is not zero where they are alike. So as many retrained
models are compared with other retrained ones, and what these have stands beside it. Half of the
references are drawn, several times; as many of the repeated models, and the other half, are held
against them. From a hundred of each on histograms are compared, below normal distributions. The
interval is that of half-samples; there is none where more than half of the repeated models are in
every draw, as draws then show too little of how these vary.

What differs from the paper: references are split, so that both numbers rest on equally many models.
No pass is made: the snapshots of all models hold what is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from expunge.algebra.klom import histogram_klom, normal_klom
from expunge.algebra.statistics import LEVEL, benjamini_hochberg
from expunge.metric import Exhibit, Measurement, Metric, Trial
from expunge.tasks import Kind

_SETS = ("forget", "retain", "test")
_ENOUGH = 100  # models of a side, for histograms
_TAIL = 0.95
_FALSE = 0.05  # share of samples that are said to differ and do not
_QUANTILES = 20
_Z = float(stats.norm.ppf((1 + LEVEL) / 2))


@dataclass(frozen=True)
class Klom(Metric):
    """Divergence of margins over many repeated and many retrained models, sample by sample."""

    tasks: ClassVar[tuple[Kind, ...]] = ("classification",)

    fewest: int = 8  # models of a side; half of the references are one
    splits: int = 10  # halves that are drawn
    rows: int = 1000  # samples of each set, at most

    def measure(self, trial: Trial) -> Iterator[Measurement]:
        ours, theirs = trial.repeated, trial.compared
        size = min(len(ours), len(theirs) // 2)
        if size < max(2, self.fewest):
            note = (
                f"{len(ours)} repeated and half of {len(theirs)} retrained models are too few; "
                f"{self.fewest} of each are needed"
            )
            yield Measurement("KLoM, forget", None, "lower", status="insufficient", note=note)
            return
        for which in _SETS:
            if len(getattr(trial.after, which)):
                u, r = (each.margins(which, self.rows) for each in (ours, theirs))
                yield from self._of(which, u, r, size)

    def _of(
        self, which: str, u: Float[Tensor, "a n"], r: Float[Tensor, "b n"], size: int
    ) -> Iterator[Measurement]:
        each, among = self._halves(u, r, size)
        kind = "histograms" if size >= _ENOUGH else "normal distributions"
        note = f"{kind} of {size} models a side, mean over {self.splits} draws"
        shown = 2 * size <= len(u)
        note += "" if shown else f"; {2 * size} repeated models would give it an interval"
        told = partial(_one, n=u.shape[1], shown=shown)
        mean = told(f"KLoM, {which}", each.mean(1), among.mean(1), note)
        median = each.median(1).values.mean()
        yield replace(
            mean, note=f"{note}; median {median:.3f}", exhibit=_quantiles(which, each, among)
        )
        tail, usual = (found.quantile(_TAIL, dim=1) for found in (each, among))
        yield told(f"KLoM, 95th percentile, {which}", tail, usual, note)
        yield _differing(which, u, r)

    def _halves(
        self, u: Float[Tensor, "a n"], r: Float[Tensor, "b n"], size: int
    ) -> tuple[Float[Tensor, "s n"], Float[Tensor, "s n"]]:
        """Of repeated and of retrained models, against the same other retrained ones."""
        generator = torch.Generator().manual_seed(0)
        klom = histogram_klom if size >= _ENOUGH else normal_klom
        ours, theirs = [], []
        for _ in range(self.splits):
            order = torch.randperm(len(r), generator=generator)
            some = u[torch.randperm(len(u), generator=generator)[:size]]
            one, other = r[order[:size]], r[order[size : 2 * size]]
            ours.append(klom(some, one))
            theirs.append(klom(other, one))
        return torch.stack(ours), torch.stack(theirs)


def _one(
    name: str,
    found: Float[Tensor, " s"],
    among: Float[Tensor, " s"],
    note: str,
    *,
    n: int,
    shown: bool,
) -> Measurement:
    """The mean over draws; half-samples stray as much as whole ones do, had these been drawn."""
    value, half = found.mean().item(), _Z * found.std().item()
    interval = (max(0.0, value - half), value + half) if shown else None
    return Measurement(
        name, value, "lower", interval, n=n, target=(among.mean().item(),), note=note
    )


def _differing(which: str, u: Float[Tensor, "a n"], r: Float[Tensor, "b n"]) -> Measurement:
    """Samples on which Kolmogorov and Smirnov's test tells all models of both kinds apart."""
    p = [float(stats.ks_2samp(a, b).pvalue) for a, b in zip(u.T.numpy(), r.T.numpy(), strict=True)]
    share = sum(q < _FALSE for q in benjamini_hochberg(p)) / len(p)
    return Measurement(
        f"samples with other margins (share), {which}",
        share,
        "lower",
        n=len(p),
        note=f"of {len(p)} samples; at most {_FALSE:.0%} of those counted differ by chance alone",
    )


def _quantiles(which: str, each: Float[Tensor, "s n"], among: Float[Tensor, "s n"]) -> Exhibit:
    """The divergences of all samples in order: no single one can be told."""
    shares = [k / _QUANTILES for k in range(_QUANTILES + 1)]
    columns: dict[str, list[Any]] = {"share of samples": [], "KLoM": [], "model": []}
    for model, found in (("unlearned", each), ("retrained", among)):
        rows = found.mean(0).quantile(torch.tensor(shares, dtype=torch.double))
        columns["share of samples"] += shares
        columns["KLoM"] += rows.tolist()
        columns["model"] += [model] * len(shares)
    title = f"Divergence of margins over the {which} set"
    return Exhibit("curve", title, columns, x="share of samples", y="KLoM", by="model")
