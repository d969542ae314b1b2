"""Whether a difference is small enough, which is not what a test that finds none says.

Two one-sided tests: that it is no larger than the margin, and no smaller than its negative
(Schuirmann, 1987). At a level of 5 % they both reject where the 90 % interval lies inside.
"""

from math import inf
from typing import NamedTuple

from jaxtyping import Float
from scipy import stats
from torch import Tensor

from expunge.algebra.statistics import Interval, mean_variance


class Equivalence(NamedTuple):
    """A difference with its 90 % interval, and the p-value of its being as large as a margin."""

    interval: Interval
    p: float


def tost(value: float, error: float, *, margin: float, freedom: float = inf) -> Equivalence:
    """Two one-sided tests of an estimate with this standard error, by Student's distribution."""
    if error == 0:
        return Equivalence(Interval(value, value, value), 0.0 if abs(value) < margin else 1.0)
    half = float(stats.t.ppf(0.95, freedom)) * error
    p = float(stats.t.sf((margin - abs(value)) / error, freedom))
    return Equivalence(Interval(value, value - half, value + half), p)


def paired_tost(differences: Float[Tensor, " n"], *, margin: float) -> Equivalence:
    """Whether the mean of paired differences is within a margin of zero."""
    x = differences.double()
    if len(x) < 2:
        return Equivalence(Interval(x.mean().item(), -inf, inf), 1.0)
    return tost(x.mean().item(), mean_variance(x) ** 0.5, margin=margin, freedom=len(x) - 1.0)
