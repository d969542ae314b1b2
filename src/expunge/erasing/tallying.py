"""Count from how many samples the variance of a feature comes.

An erasure takes from every feature a multiple of the scores that tell the attribute. From a feature
that varies in a few samples it takes what these few asked for, and shows the score in all others,
where there is nothing beside it. No affine probe is the wiser; another one, or one that is asked
about other samples, may be. Such features are better held at their means. Where samples are few all
features vary in few, so that it is their share that counts.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.algebra.erasure import Moments

HELD = "features that vary in too few samples, and are held at their means"
"""What to say of them, before their number."""

_SHARE = 0.05  # of all samples; a normal number varies in a third


class Tally(Moments):
    """The sums that an erasure needs, and four powers of every feature."""

    def __init__(self, classes: int = 1) -> None:
        """Start with nothing in any class."""
        super().__init__(classes)
        self._powers = torch.zeros(5, 1, dtype=torch.double)

    def add(self, x: Float[Tensor, "n d"], z: Float[Tensor, "n m"], y: Int[Tensor, " n"]) -> None:
        """Count these rows."""
        super().add(x, z, y)
        apart = x.detach().cpu().double() - self.origin
        self._powers = self._powers + torch.stack([(apart**k).sum(0) for k in range(5)])

    @property
    def support(self) -> Float[Tensor, " d"]:
        """From how many samples the variance of each feature comes.

        If a feature is one number in m samples and another in many more, it is about m; for normal
        numbers it is a third of the samples, and for a feature that never varies none.
        """
        count = self._powers[0]
        m, second, third, fourth = self._powers[1:] / count
        tail = fourth - 4 * m * third + 6 * m**2 * second - 3 * m**4
        return torch.where(self.constant, 0.0, count * (second - m**2) ** 2 / tail)

    def rare(self, least: int) -> Bool[Tensor, " d"]:
        """Which features fewer samples make vary, and less than a twentieth of them.

        None, where that would be all of them: something has to be left.
        """
        found = self.support < (_SHARE * self._powers[0]).clamp_max(least)
        return found & ~found.all()
