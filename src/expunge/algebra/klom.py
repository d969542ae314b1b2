"""How far the margins of unlearned models are from those of retrained ones, record by record.

Kullback-Leibler divergence of margins (Georgiev et al., Attribute-to-Delete, 2025): of histograms,
which takes a hundred models of either kind, or of normal distributions, which takes ten. Neither is
zero for models that are alike: what retrained models have among themselves is its zero.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.statistics import kl

_FARTHEST = 100.0  # margins beyond are taken for this
_LEAST = 1e-5  # a share that none of the models of reference has
_FLAT = 1e-12  # of the variance of both kinds: less is none


def histogram_klom(
    unlearned: Float[Tensor, "a n"], retrained: Float[Tensor, "b n"], *, bins: int = 20
) -> Float[Tensor, " n"]:
    """The divergence of histograms with equal bins over the range of both; at most about 11.5."""
    u, r = (x.double().clamp(-_FARTHEST, _FARTHEST) for x in (unlearned, retrained))
    both = torch.cat([u, r])
    low, width = both.amin(0), both.amax(0) - both.amin(0)

    def shares(x: Tensor) -> Tensor:
        bin_ = ((x - low) / width.clamp_min(torch.finfo(torch.double).tiny) * bins).long()
        return _counted(bin_.clamp(0, bins - 1), bins) / len(x)

    p, q = shares(u), shares(r)
    q = torch.where(p > 0, q.clamp_min(_LEAST), q)
    return kl(p, q / q.sum(1, keepdim=True))


def normal_klom(
    unlearned: Float[Tensor, "a n"], retrained: Float[Tensor, "b n"]
) -> Float[Tensor, " n"]:
    """The divergence of normal distributions with the same means and variances."""
    u, r = unlearned.double(), retrained.double()
    least = (_FLAT * torch.cat([u, r]).var(0)).clamp_min(torch.finfo(torch.double).tiny)
    of_u, of_r = (torch.maximum(x.var(0), least) for x in (u, r))
    apart = (u.mean(0) - r.mean(0)).square()
    return (of_r.log() - of_u.log() + (of_u + apart) / of_r - 1) / 2


def _counted(bins: Int[Tensor, "k n"], most: int) -> Float[Tensor, "n b"]:
    counts = torch.zeros(bins.shape[1], most).double()
    return counts.scatter_add_(1, bins.mT, torch.ones_like(bins.mT).double())
