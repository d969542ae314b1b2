"""Can two groups be told apart at all? Asked of samples that whoever tells them never saw.

The samples are dealt into parts. A judge who learnt from all other parts ranks those of one part,
and what counts is how often a member of the first group stands above one of the second.

All parts together make one area under the curve, but not one of so many independent samples. What
makes a part lean one way is in the lessons of every other part, so that any two parts agree by
chance twice: once when the first is asked and once when the second is. Where nothing is to be told,
the variance is therefore up to twice that of one judge who is asked about so many samples, and an
interval that did not know it would miss in one case of eight. Here it is taken twice.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from expunge.algebra.probing import probe
from expunge.algebra.statistics import LEVEL, Interval, mean_variance, newcombe, placements

Ranking = Callable[[Float[Tensor, "n d"]], Float[Tensor, " n"]]
"""Higher for what is more like the first group."""

Judge = Callable[[Float[Tensor, "m d"], Bool[Tensor, " m"]], Ranking]
"""Learns from rows, and from which of them belong to the first group."""

_TWICE = 2  # by how much the variance of crossed parts exceeds that of independent samples
_FEW = 20  # below this a variance is too noisy to be believed
_L2 = 1e-2
_LEAF = 5  # samples


def hyperplane(x: Float[Tensor, "m d"], inside: Bool[Tensor, " m"], l2: float = _L2) -> Ranking:
    """One linear probe."""
    return probe(x, inside, l2).scores


def forest(x: Float[Tensor, "m d"], inside: Bool[Tensor, " m"], trees: int = 50) -> Ranking:
    """Decision trees, which see what no hyperplane does."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - it is heavy

    grown = RandomForestClassifier(
        trees, min_samples_leaf=_LEAF, class_weight="balanced", random_state=0, n_jobs=1
    ).fit(x.numpy(), inside.numpy())
    return lambda rows: torch.from_numpy(grown.predict_proba(rows.numpy())[:, 1])


def crossed_auc(
    inside: Float[Tensor, "m d"],
    outside: Float[Tensor, "n d"],
    folds: int,
    judges: Sequence[Judge] = (hyperplane, forest),
) -> Interval:
    """How well judges, who count alike, tell the groups apart; rows should come shuffled."""
    parts = [_part(inside, outside, fold, folds, judges) for fold in range(folds)]
    above, below = (torch.cat(each) for each in zip(*parts, strict=True))
    return _interval(above, below)


def crossed(
    inside: Float[Tensor, "m d"], outside: Float[Tensor, "n d"], folds: int, judge: Judge
) -> tuple[Float[Tensor, " m"], Float[Tensor, " n"]]:
    """Scores of both groups, each row by a judge who never saw it; rows should come shuffled."""
    ours = torch.zeros(len(inside), dtype=torch.double)
    theirs = torch.zeros(len(outside), dtype=torch.double)
    for fold in range(folds):
        mine, others, told = _told(inside, outside, fold, folds, judge)
        ours[mine], theirs[others] = told
    return ours, theirs


def auc_of_crossed(inside: Float[Tensor, " m"], outside: Float[Tensor, " n"]) -> Interval:
    """The AUC of `crossed` scores, which are not independent of each other."""
    return _interval(*placements(inside, outside))


def _interval(above: Float[Tensor, " m"], below: Float[Tensor, " n"]) -> Interval:
    value, m, n = above.mean().item(), len(above), len(below)
    variance = _TWICE * (mean_variance(above) + mean_variance(below))
    if min(m, n) < _FEW or variance == 0:
        return Interval(value, *newcombe(value, max(1, m // _TWICE), max(1, n // _TWICE)))
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * variance**0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _part(
    inside: Float[Tensor, "m d"],
    outside: Float[Tensor, "n d"],
    fold: int,
    folds: int,
    judges: Sequence[Judge],
) -> tuple[Tensor, Tensor]:
    """The placements of one part, inside it alone: two judges need not speak of one scale."""
    told = [_told(inside, outside, fold, folds, judge)[2] for judge in judges]
    size = len(told[0][0])
    scores = torch.as_tensor(sum(_ranks(torch.cat(each)) for each in told))
    return placements(scores[:size], scores[size:])


def _told(
    inside: Float[Tensor, "m d"],
    outside: Float[Tensor, "n d"],
    fold: int,
    folds: int,
    judge: Judge,
) -> tuple[Bool[Tensor, " m"], Bool[Tensor, " n"], tuple[Tensor, Tensor]]:
    """Who is in a part, of either group, and what a judge of all other parts says of them."""
    ours, theirs = (torch.arange(len(x)) % folds == fold for x in (inside, outside))
    known = torch.cat([inside[~ours], outside[~theirs]])
    group = torch.arange(len(known)) < int((~ours).sum())
    ranking = judge(known, group)
    return ours, theirs, (ranking(inside[ours]), ranking(outside[theirs]))


def _ranks(scores: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return torch.from_numpy(stats.rankdata(scores.double().numpy()))
