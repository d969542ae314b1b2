"""How much features tell about an attribute, in nats: what can be pushed down, and how far.

A critic guesses the attribute from features, and from the task's label too where only that is to go
which features tell beyond it. To push a lower bound down is not enough: it falls as well where the
critic merely gets worse. So the bound is one from above (vCLUB, after Cheng, Hao, Dai, Liu, Gan and
Carin, CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information, 2020), which holds as far as
the critic is right; or the push ends where the critic knows the frequencies of the groups alone; or
critic and features pull in opposite directions at once (Ganin and Lempitsky, Unsupervised Domain
Adaptation by Backpropagation, 2015).

Groups are numbered from 0, and -1 is a group that is missing; a number that is missing is
not-a-number. What is missing has no part in any mean.
"""

from dataclasses import dataclass
from math import e, log, pi

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

Scalar = Float[Tensor, ""]

_HALF = 0.5  # of a sample, imagined in every group of all classes together
_IMAGINED = tuple(10 ** (power / 2) for power in range(-4, 9))  # samples a class, besides the known


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """How often every group was seen in every class of the training set.

    One class for all samples stands for an attribute on which no condition is put.
    """

    counts: Float[Tensor, "c k"]

    @classmethod
    def of(
        cls, z: Int[Tensor, " n"], y: Int[Tensor, " n"], *, groups: int, classes: int = 1
    ) -> "Prior":
        """Count the groups in every class, where they are known."""
        z, y = z.cpu(), y.cpu()
        cell = (y * groups + z)[z >= 0].long()
        return cls(cell.bincount(minlength=classes * groups).double().view(classes, groups))

    @property
    def entropy(self) -> float:
        """How much there is to know, in nats: H(z), or H(z | y) where there are classes."""
        shares = self.counts.sum(1) / self.counts.sum().clamp_min(1)
        return float(shares @ torch.special.entr(self._table(0.0)).sum(1))

    def shares(self, y: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """How often every group goes with these labels."""
        return self._table(0.0).float().to(y.device)[y]

    def bets(self, y: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """What to bet on every group for who knows the label alone, as log2-probabilities.

        Some samples more are imagined in every class, spread as everywhere: as many as let the
        others foretell each known sample best. Where the label tells all these are hardly any, and
        where it tells nothing so many that all classes bet alike. Worse bets would leave something
        to be gained by who looks at features and learns no more from them than the label.
        """
        best = max(_IMAGINED, key=self._foretold)
        return self._table(best).log2().to(y.device)[y]

    def _foretold(self, imagined: float) -> float:
        """The log-probability of every known sample, by the bets of all others, added up."""
        groups = self.counts.shape[1]
        without = (self.counts.sum(0) - _HALF).clamp_min(0)  # one sample less, and half of one more
        everywhere = without / (self.counts.sum() - 1 + _HALF * groups)
        told = self.counts - 1 + imagined * everywhere
        of = self.counts.sum(1, keepdim=True) - 1 + imagined
        return torch.where(self.counts > 0, self.counts * (told / of).log(), 0.0).sum().item()

    def _table(self, imagined: float) -> Float[Tensor, "c k"]:
        """Shares in every class, with so many more samples that are spread as everywhere."""
        seen = self.counts.sum(0) + (_HALF if imagined else 0.0)
        everywhere = seen / seen.sum() if seen.any() else torch.full_like(seen, 1 / len(seen))
        counts = self.counts + imagined * everywhere
        counts = torch.where(counts.sum(1, keepdim=True) > 0, counts, everywhere)
        return counts / counts.sum(1, keepdim=True)


def known(z: Shaped[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whose attribute is known."""
    return ~z.isnan() if z.is_floating_point() else z >= 0


def surprise(logits: Float[Tensor, "n k"], z: Int[Tensor, " n"]) -> Scalar:
    """The cross-entropy of a critic: what it has not learned yet, and what nobody can."""
    each = F.cross_entropy(logits, z.clamp_min(0).long(), reduction="none")
    return _mean(each, known(z))


def vclub(
    logits: Float[Tensor, "n k"], z: Int[Tensor, " n"], shares: Float[Tensor, "n k"]
) -> Scalar:
    """How much likelier a critic finds the true group than a group drawn from ``shares``.

    The normaliser of the softmax cancels: the slope of every logit is one where it is the true
    group, else zero, less the group's share. It is bounded, and does not vanish at uniform critics.
    """
    true = F.one_hot(z.clamp_min(0).long(), logits.shape[1])
    return _mean(((true - shares) * logits).sum(1), known(z))


def clipped(surprise: Float[Tensor, "*s"], entropy: float) -> Float[Tensor, "*s"]:
    """How much critics know; once one knows nothing, there is nothing left to push."""
    return (entropy - surprise).clamp_min(0)


def reverse(x: Float[Tensor, "*n"], strength: float = 1.0) -> Float[Tensor, "*n"]:
    """The same values; a slope that passes here comes out times minus ``strength``."""
    turned = x.view_as(x)
    if turned.requires_grad:
        turned.register_hook(lambda slope: -strength * slope)
    return turned


def normal_surprise(
    mean: Float[Tensor, " n"], log_variance: Float[Tensor, " n"], z: Float[Tensor, " n"]
) -> Scalar:
    """The same for a critic that answers with normal distributions of a number."""
    return _mean(-_log_density(mean, log_variance, z), known(z))


def normal_vclub(
    mean: Float[Tensor, " n"],
    log_variance: Float[Tensor, " n"],
    z: Float[Tensor, " n"],
    order: Int[Tensor, " n"],
) -> Scalar:
    """How much likelier such a critic finds everybody's own number than that of another."""
    own, other = (_log_density(mean, log_variance, number) for number in (z, z[order]))
    return _mean(own - other, known(z) & known(z[order]))


def normal_entropy(variance: float) -> float:
    """The surprise of who knows the variance of a number alone."""
    return log(2 * pi * e * variance) / 2


def shuffled(y: Int[Tensor, " n"], generator: torch.Generator | None = None) -> Int[Tensor, " n"]:
    """Everybody's place for another one's, at random, inside the same class."""
    mixed = torch.randperm(len(y), generator=generator, device=y.device)
    order = torch.empty_like(mixed)
    order[y.argsort(stable=True)] = mixed[y[mixed].argsort(stable=True)]
    return order


def _log_density(mean: Tensor, log_variance: Tensor, z: Tensor) -> Float[Tensor, " n"]:
    # A missing number would spoil slopes even where its density is not counted.
    apart = z.nan_to_num() - mean
    return -(log(2 * pi) + log_variance + apart**2 * (-log_variance).exp()) / 2


def _mean(each: Float[Tensor, " n"], counted: Bool[Tensor, " n"]) -> Scalar:
    return torch.where(counted, each, 0.0).sum() / counted.sum().clamp_min(1)
