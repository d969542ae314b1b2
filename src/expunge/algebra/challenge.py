"""How well unlearned models can be told from retrained ones, record by record, by many of each.

Forgetting quality of the NeurIPS 2023 unlearning challenge (Triantafillou et al., Are We Making
Progress in Unlearning?, 2024), by its rules: one threshold, or two around the narrower kind. All of
them are tried, where the challenge took steps of 0.01.

The best of many rules on the same models is biased, so that the quality of models that cannot be
told apart is not one: it is about 0.2. So a quality is given relative to that of retrained models
among themselves; or a rule that was found on half of the models is tested on the others.
"""

from collections.abc import Iterator
from math import ceil, log

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.algebra.distinguishing import DELTA, epsilon, epsilon_bound
from expunge.algebra.resampling import portions
from expunge.algebra.rules import rules, spread
from expunge.algebra.statistics import LEVEL

CAP = 50.0
"""The ε of models that can always be told apart."""

_BUCKET = 0.5  # of ε; each gives half the points of the one before
_PEAK = 0.01  # of the wider range: a narrower one gives itself away


def epsilons(
    unlearned: Float[Tensor, "k n"], retrained: Float[Tensor, "k n"], *, delta: float = DELTA
) -> Float[Tensor, " n"]:
    """The ε of every record at the rule that tells most, where it errs both ways or not at all."""
    of, found = len(unlearned), []
    for u, r in _parts(unlearned, retrained):
        tried = rules(u, r)
        one_way = (tried.suspected == 0) != (tried.missed == 0)
        each = epsilon(tried.suspected.double() / of, tried.missed.double() / of, delta=delta)
        best = each.masked_fill(one_way | ~tried.valid, 0.0).amax(1)
        narrow, wide = torch.stack([spread(u), spread(r)]).sort(0).values
        found.append(best.masked_fill(narrow < _PEAK * wide, CAP).clamp_max(CAP))
    return torch.cat(found)


def epsilon_bounds(
    unlearned: Float[Tensor, "k n"],
    retrained: Float[Tensor, "k n"],
    *,
    delta: float = DELTA,
    level: float = LEVEL,
) -> Float[Tensor, " n"]:
    """Lower bounds of ε: the most promising rule of half of the models, tested on the others."""
    half, found = len(unlearned) // 2, []
    for u, r in _parts(unlearned, retrained):
        tried = rules(u[:half], r[:half])
        promise = epsilon_bound(
            tried.suspected, tried.missed, of=(half, half), delta=delta, level=level
        )
        best = promise.masked_fill(~tried.valid, -1.0).argmax(1, keepdim=True)
        lower, upper, sought = (
            each.gather(1, best)[:, 0] for each in (tried.lower, tried.upper, tried.retrained)
        )
        inside = [((x > lower) & (x <= upper)).sum(0) for x in (u[half:], r[half:])]
        others = len(u) - half
        suspected = torch.where(sought, inside[0], inside[1])
        missed = others - torch.where(sought, inside[1], inside[0])
        found.append(
            epsilon_bound(suspected, missed, of=(others, others), delta=delta, level=level)
        )
    return torch.cat(found)


def points(epsilons: Float[Tensor, " n"], models: int) -> Float[Tensor, " n"]:
    """One for an ε below a half, half as many for every half more, none beyond what is seen.

    So many models of either kind show an ε up to the logarithm of one less, rounded up.
    """
    bucket, most = (epsilons / _BUCKET).floor(), ceil(log(max(1, models - 1))) / _BUCKET
    return torch.where(bucket < most, 0.5**bucket, 0.0)


def quality(
    unlearned: Float[Tensor, "k n"], retrained: Float[Tensor, "k n"], *, delta: float = DELTA
) -> float:
    """The mean points of all records."""
    found = epsilons(unlearned, retrained, delta=delta)
    return points(found, len(unlearned)).mean().item()


def relative_quality(
    unlearned: Float[Tensor, "a n"],
    retrained: Float[Tensor, "b n"],
    *,
    delta: float = DELTA,
    splits: int = 10,
    seed: int = 0,
) -> float | None:
    """The quality against half of the retrained models, over that of as many of the others.

    One is as good as retraining. None where retrained models get no points themselves, as few do.
    """
    generator = torch.Generator().manual_seed(seed)
    ours = theirs = 0.0
    half = min(len(unlearned), len(retrained) // 2)
    for _ in range(splits):
        order = torch.randperm(len(retrained), generator=generator)
        some = unlearned[torch.randperm(len(unlearned), generator=generator)[:half]]
        one, other = retrained[order[:half]], retrained[order[half : 2 * half]]
        ours += quality(some, one, delta=delta)
        theirs += quality(other, one, delta=delta)
    return ours / theirs if theirs else None


def _parts(u: Float[Tensor, "k n"], r: Float[Tensor, "k n"]) -> Iterator[tuple[Tensor, Tensor]]:
    """As many records at once as there is room for all rules of."""
    if not (bool(u.isfinite().all()) and bool(r.isfinite().all())):
        raise ValueError("scores must be finite")
    sizes = list(portions(u.shape[1], 4 * len(u) ** 2))
    return zip(u.double().split(sizes, dim=1), r.double().split(sizes, dim=1), strict=True)
