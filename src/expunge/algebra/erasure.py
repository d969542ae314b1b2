"""Erasing attributes from features in closed form: the smallest edit about the mean.

Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman, LEACE: Perfect Linear Concept
Erasure in Closed Form, 2023. No affine predictor reads an attribute from features better than a
constant does, whatever its convex loss, exactly where the two have no covariance. Of all affine
maps that bring this about, :func:`erase` finds the one that moves the samples least.

With several classes all of this holds inside each of them: what a class tells about the attribute
stays, and what features tell beyond it goes. One map removes the covariances of every class, no
more than (groups - 1) directions for each, and moves samples least as seen from the means of their
classes. One class for all samples is the plain form.

The promise is for the samples that were counted, and for this one layer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

_FLAT = 1e-12  # share of the largest variance; what varies less is taken to vary that much
_ALIKE = 1e-10  # a correlation below it is rounding
_SMALLEST = 1e-300  # keeps what never varies from being divided by zero


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """An affine map of features."""

    matrix: Float[Tensor, "e d"]
    bias: Float[Tensor, " e"]

    @classmethod
    def of(cls, linear: nn.Linear) -> "Map":
        """What a layer computes, in double precision."""
        weight = linear.weight.detach().cpu().double()
        given = getattr(linear, "bias", None)
        return cls(weight, weight.new_zeros(len(weight)) if given is None else _plain(given))

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Every row as the map leaves it, in the precision in which it came."""
        return F.linear(x.double(), self.matrix.to(x.device), self.bias.to(x.device)).to(x)

    def after(self, other: "Map") -> "Map":
        """One map in place of two: the other first, then this one."""
        return Map(self.matrix @ other.matrix, self.matrix @ other.bias + self.bias)

    def layer(self, like: Tensor) -> nn.Linear:
        """The map as a layer of a network, in the precision and the place of a tensor."""
        shape = self.matrix.shape[::-1]
        linear: nn.Linear = nn.utils.skip_init(
            nn.Linear, *shape, device=like.device, dtype=like.dtype
        )
        with torch.no_grad():
            linear.weight.copy_(self.matrix)
            linear.bias.copy_(self.bias)
        return linear

    @property
    def lost(self) -> int:
        """How many directions an erasure takes away: what its trace, a projection's, lacks."""
        return len(self.matrix) - round(self.matrix.trace().item())


class Moments:
    """Sums over features and attributes in every class, batch by batch in double precision."""

    def __init__(self, classes: int = 1) -> None:
        """Start with nothing in any class."""
        self.classes = classes
        self._origin: Tensor | None = None
        self._sums: Tensor = torch.zeros(0)

    def add(self, x: Float[Tensor, "n d"], z: Float[Tensor, "n m"], y: Int[Tensor, " n"]) -> None:
        """Count these rows; where a column of ``z`` is not a number, its answer is missing."""
        x, z = _plain(x), _plain(z)
        if self._origin is None:
            self._origin = x.mean(0)  # sums about a point nearby lose no digits
        x, inside = x - self._origin, F.one_hot(y.cpu().long(), self.classes).double()
        known, answers = _blocks(inside, (~z.isnan()).double()), _blocks(inside, z.nan_to_num())
        right = torch.cat([x, inside, known, answers, answers**2], 1)
        found = torch.cat([x, torch.ones(len(x), 1)], 1).mT @ right
        self._sums = found + self._sums if len(self._sums) else found

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """The mean of the features."""
        (_, inside, *_), origin = self._parts()
        return origin + inside[:-1].sum(1) / inside[-1].sum()

    @property
    def within(self) -> Float[Tensor, "d d"]:
        """The covariance of the features about the means of their classes, pooled."""
        (square, inside, *_), _ = self._parts()
        means = inside[:-1] / inside[-1].clamp_min(1)
        found = (square[:-1] - means @ inside[:-1].mT) / inside[-1].sum()
        return (found + found.mT) / 2

    @property
    def shared(self) -> Float[Tensor, "d b"]:
        """The covariances with every column of the attributes, a block of columns a class.

        Every column is divided by its own deviation, so that its length does not hang on units.
        """
        (_, inside, known, answers, squares), _ = self._parts()
        count, total = known[-1].clamp_min(1), inside[-1].sum()
        cross = (answers[:-1] - known[:-1] * (answers[-1] / count)) / total
        spread = (squares[-1] - answers[-1] ** 2 / count) / total
        varies = spread > _FLAT * squares[-1] / total
        return torch.where(varies, cross / spread.clamp_min(_SMALLEST).sqrt(), 0.0)

    def _parts(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """Sums of products with the features, and in the last row those without."""
        if self._origin is None:
            raise ValueError("no rows were counted")
        d, width = len(self._origin), self._sums.shape[1]
        each = (width - d - self.classes) // 3
        return self._sums.split([d, self.classes, each, each, each], 1), self._origin


def columns(z: Int[Tensor, " n"], groups: int) -> Float[Tensor, "n k"]:
    """A column of zeros and ones for every group; -1 is a row of answers that are missing."""
    found = F.one_hot(z.clamp_min(0).long(), groups).double()
    return found.masked_fill(z[:, None] < 0, torch.nan)


def erase(moments: Moments) -> Map:
    """The smallest edit after which no affine predictor reads the attributes, class by class."""
    values, axes = torch.linalg.eigh(moments.within)
    spread = values.clamp_min(max(_FLAT * values[-1].item(), _SMALLEST)).sqrt()
    return _without(moments, (axes / spread) @ axes.mT, (axes * spread) @ axes.mT)


def project(moments: Moments) -> Map:
    """The same by an orthogonal projection: the differences between the groups' means go.

    It keeps the same promise and moves the samples farther.
    """
    largest = torch.linalg.eigvalsh(moments.within)[-1].clamp_min(_SMALLEST).sqrt()
    one = torch.eye(len(moments.mean), dtype=torch.double)
    return _without(moments, one / largest, one * largest)


def _without(moments: Moments, whiten: Tensor, restore: Tensor) -> Map:
    """The map that takes away, in whitened features, all directions of the covariances."""
    axes, sizes, _ = torch.linalg.svd(whiten @ moments.shared, full_matrices=False)
    axes = axes[:, sizes > _ALIKE]
    taken = restore @ axes @ (axes.mT @ whiten)
    return Map(torch.eye(len(taken), dtype=torch.double) - taken, taken @ moments.mean)


def _blocks(inside: Float[Tensor, "n c"], z: Float[Tensor, "n m"]) -> Float[Tensor, "n b"]:
    """The columns once for every class, each block zero outside its own."""
    return (inside[:, :, None] * z[:, None, :]).flatten(1)


def _plain(x: Tensor) -> Float[Tensor, "..."]:
    return x.detach().cpu().double()
