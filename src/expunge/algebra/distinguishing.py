"""What the errors of a rule that tells two kinds of models apart say about ε.

If both kinds are (ε, δ)-close, no rule errs rarely in both ways: 1 - δ - FPR ≤ exp(ε)·FNR, and the
other way round. So errors bound ε from below; with exact bounds of both errors it is a bound that
holds, if the rule was fixed on other runs.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from expunge.algebra.statistics import LEVEL

DELTA = 1e-5


def epsilon(
    fpr: Float[Tensor, "*r"], fnr: Float[Tensor, "*r"], *, delta: float = DELTA
) -> Float[Tensor, "*r"]:
    """The smallest ε at which two kinds of models can be told apart with these rates of errors."""
    one, other = ((1 - delta - a).clamp_min(0) / b for a, b in ((fpr, fnr), (fnr, fpr)))
    least = torch.fmax(one, other).clamp_min(1)  # nothing over nothing asks for nothing
    return least.nan_to_num(1.0, posinf=torch.inf).log()


def epsilon_bound(
    suspected: Int[Tensor, "*r"],
    missed: Int[Tensor, "*r"],
    *,
    of: tuple[int, int],
    delta: float = DELTA,
    level: float = LEVEL,
) -> Float[Tensor, "*r"]:
    """A lower bound of ε where so many runs without, and with, were taken for the other kind.

    Each error takes half of what may go wrong, so that both bounds hold together and the better
    of both forms needs nothing more. ``of`` is how many runs there were of either kind.
    """
    tail = (1 - level) / 2
    fpr, fnr = (
        _upper(n, tail)[count.long()] for n, count in zip(of, (suspected, missed), strict=True)
    )
    return epsilon(fpr, fnr, delta=delta)


def _upper(n: int, tail: float) -> Float[Tensor, " k"]:
    """Clopper and Pearson's upper bound for none to all of n."""
    count = np.arange(n)
    return torch.from_numpy(np.append(stats.beta.ppf(1 - tail, count + 1, n - count), 1.0))
