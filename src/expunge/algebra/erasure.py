"""Erasing attributes from features in closed form: the smallest edit about the mean.

Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman, LEACE: Perfect Linear Concept
Erasure in Closed Form, 2023. No affine predictor reads an attribute from features better than a
constant does, whatever its convex loss, exactly where the two have no covariance. Of all affine
maps that bring this about, :func:`erase` finds the one that moves the samples least.

With several classes all of this holds inside each of them: what a class tells about the attribute
stays, and what features tell beyond it goes. One map removes the covariances of every class, no
more than (groups - 1) directions for each, and moves samples least as seen from the means of their
classes. One class for all samples is the plain form.

The promise is for the samples that were counted, and for this one layer. It has to hold for a probe
that scales what it reads, so that rounding is as good a place for an attribute as any other. Every
feature is therefore measured by its own deviation, and a feature that never varies, or by no more
than its numbers can show, is held at its mean: to the last digit it is then the same for everybody.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

_SUMS = 1e-16  # share of a mean square that is rounding in double precision
_COARSE = 12 * 8.0**2  # variances of rounding: eight steps from number to number, for an edit
_NOISE = 4.0  # variances of rounding, below which a direction is no more than that
_FLAT = 1e-14  # share of all variance, below which a direction is rounding
_SAME = 1e-12  # share of the mean square of answers that vary by rounding alone
_ALIKE = 1e-7  # a correlation below it is rounding
_RIDGE = 1e-3  # share of the mean variance, added where classes are told apart
_SMALLEST = 1e-300  # keeps features that never vary from being divided by zero


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """An affine map of features."""

    matrix: Float[Tensor, "e d"]
    bias: Float[Tensor, " e"]
    lost: int = 0  # directions that it erases

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
        bias = self.matrix @ other.bias + self.bias
        return Map(self.matrix @ other.matrix, bias, self.lost + other.lost)

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


class Moments:
    """Sums over features and attributes in every class, batch by batch in double precision."""

    def __init__(self, classes: int = 1) -> None:
        """Start with nothing in any class."""
        self.classes = classes
        self._origin: Tensor | None = None
        self._sums = torch.zeros(0)
        self._grain = 0.0  # the step from 1 to the next number, in the coarsest precision met

    def add(self, x: Float[Tensor, "n d"], z: Float[Tensor, "n m"], y: Int[Tensor, " n"]) -> None:
        """Count these rows; where a column of ``z`` is not a number, its answer is missing."""
        self._grain = max(self._grain, torch.finfo(x.dtype).eps)
        x, z = _plain(x), _plain(z)
        if self._origin is None:  # sums about a point nearby lose no digits
            self._origin = x.median(0).values  # and what never varies is exactly there
        x, inside = x - self._origin, F.one_hot(y.cpu().long(), self.classes).double()
        known, answers = _blocks(inside, (~z.isnan()).double()), _blocks(inside, z.nan_to_num())
        right = torch.cat([x, inside, known, answers, answers**2], 1)
        found = torch.cat([x, torch.ones(len(x), 1)], 1).mT @ right
        self._sums = found + self._sums if len(self._sums) else found

    def hold(self, held: Bool[Tensor, " d"]) -> None:
        """Take it that in all rows so far some features were at their means."""
        free = (~held).double()
        self._origin = torch.where(held, self.mean, self.origin)
        self._sums = self._sums * torch.cat([free, free.new_ones(1)])[:, None]
        self._sums[:, : len(held)] *= free

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """The mean of the features."""
        _, inside, *_ = self._parts()
        return self.origin + inside[:-1].sum(1) / inside[-1].sum()

    @property
    def means(self) -> Float[Tensor, "c d"]:
        """The mean of the features in every class; of an empty one, that of all."""
        _, inside, *_ = self._parts()
        found = self.origin + (inside[:-1] / inside[-1].clamp_min(1)).mT
        return torch.where(inside[-1][:, None] > 0, found, self.mean)

    @property
    def counts(self) -> Float[Tensor, " c"]:
        """How many rows there are in every class."""
        return self._parts()[1][-1]

    @property
    def within(self) -> Float[Tensor, "d d"]:
        """The covariance of the features about the means of their classes, pooled."""
        square, inside, *_ = self._parts()
        means = inside[:-1] / inside[-1].clamp_min(1)
        found = (square[:-1] - means @ inside[:-1].mT) / inside[-1].sum()
        return (found + found.mT) / 2

    @property
    def total(self) -> Float[Tensor, "d d"]:
        """The covariance of the features about their mean."""
        square, inside, *_ = self._parts()
        about = self.mean - self.origin
        found = square[:-1] / inside[-1].sum() - about[:, None] * about
        return (found + found.mT) / 2

    @property
    def rounding(self) -> Float[Tensor, " d"]:
        """What of every feature's variance may be rounding: of its numbers, and of these sums."""
        square, inside, *_ = self._parts()
        about = square[:-1].diagonal() / inside[-1].sum()
        return self._grain**2 / 12 * (self.mean**2 + about) + _SUMS * about

    @property
    def coarse(self) -> Float[Tensor, " d"]:
        """A variance so small that rounding tells who varied before an edit."""
        return _COARSE * self.rounding

    @property
    def varies(self) -> Bool[Tensor, " d"]:
        """Which features vary inside any class."""
        return self.within.diagonal() > self.coarse

    @property
    def constant(self) -> Bool[Tensor, " d"]:
        """Which features have one value in all classes."""
        square, inside, *_ = self._parts()
        total = square[:-1].diagonal() / inside[-1].sum() - (self.mean - self.origin) ** 2
        return total <= self.coarse

    @property
    def shared(self) -> Float[Tensor, "d b"]:
        """The covariances with every column of the attributes, a block of columns a class.

        Every column is divided by its own deviation, so that its length does not hang on units.
        """
        _, inside, known, answers, squares = self._parts()
        count, total = known[-1].clamp_min(1), inside[-1].sum()
        cross = (answers[:-1] - known[:-1] * (answers[-1] / count)) / total
        spread = (squares[-1] - answers[-1] ** 2 / count) / total
        varies = spread > _SAME * squares[-1] / total
        return cross / torch.where(varies, spread, torch.inf).sqrt()

    @property
    def origin(self) -> Float[Tensor, " d"]:
        """The point about which features are counted: a median of the first that came."""
        if self._origin is None:
            raise ValueError("no rows were counted")
        return self._origin

    def _parts(self) -> tuple[Tensor, ...]:
        """Sums of products with the features, and in the last row those without."""
        d, width = len(self.origin), self._sums.shape[1]
        each = (width - d - self.classes) // 3
        parts: tuple[Tensor, ...] = self._sums.split([d, self.classes, each, each, each], 1)
        return parts


def columns(z: Int[Tensor, " n"], groups: int) -> Float[Tensor, "n k"]:
    """A column of zeros and ones for every group; -1 is a row of answers that are missing."""
    found = F.one_hot(z.clamp_min(0).long(), groups).double()
    return found.masked_fill(z[:, None] < 0, torch.nan)


def erase(moments: Moments) -> Map:
    """The smallest edit after which no affine predictor reads the attributes, class by class."""
    live = moments.varies
    within, shared = moments.within[live][:, live], moments.shared[live]
    deviations = within.diagonal().sqrt()
    values, axes = torch.linalg.eigh(within / deviations / deviations[:, None])
    noise = moments.rounding[live] / deviations**2
    real = values > _FLAT * len(values) + _NOISE * axes.mT.square() @ noise
    spread, axes = values[real].sqrt(), axes[:, real]
    whiten, restore = (axes / spread).mT / deviations, deviations[:, None] * axes * spread
    told, sizes, _ = torch.linalg.svd(whiten @ shared, full_matrices=False)
    told = told[:, sizes > _ALIKE]
    return _without(moments, restore @ told, told.mT @ whiten)


def project(moments: Moments) -> Map:
    """The same by an orthogonal projection: the differences between the groups' means go.

    It keeps the same promise and moves the samples farther.
    """
    live = moments.varies
    shared, deviations = moments.shared[live], moments.within.diagonal()[live].sqrt()
    count = int((torch.linalg.svdvals(shared / deviations[:, None]) > _ALIKE).sum())
    _, sizes, axes = torch.linalg.svd(shared, full_matrices=False)
    told = shared @ (axes[:count].mT / sizes[:count])
    return _without(moments, told, told.mT)


def narrow(moments: Moments, edit: Map, most: int) -> Map:
    """An edit about the mean, and after it only what tells the classes, and what is widest.

    So many directions are kept, whole, beside those in which a linear discriminant reads. The
    others count as lost. Of one class alone nobody can say what tells it, and all are kept.
    """
    if int((moments.counts > 0).sum()) < 2:
        return edit
    left, same = edit.matrix, torch.eye(len(edit.matrix), dtype=torch.double)
    apart = left @ (moments.means - moments.mean).mT
    within = left @ moments.within @ left.mT
    values, axes = torch.linalg.eigh(within)
    bends = (values.clamp_min(0) + _RIDGE * values.mean()).clamp_min(_SMALLEST)
    tells = _axes(axes @ ((axes.mT @ apart) / bends[:, None]))
    rest = same - tells @ tells.mT
    widths, axes = torch.linalg.eigh(rest @ left @ moments.total @ left.mT @ rest)
    axes = axes[:, widths > _FLAT * len(widths) * widths[-1]]
    lost = max(0, axes.shape[1] - most)
    kept = torch.cat([tells, axes[:, lost:]], 1)
    only = kept @ kept.mT
    only[(left == 0).all(1)] = 0  # to the last digit
    return Map(only, moments.mean - only @ moments.mean, lost).after(edit)


def _without(moments: Moments, told: Float[Tensor, "m r"], scores: Float[Tensor, "r m"]) -> Map:
    """The map that takes scores out of those features that vary, and holds what is constant then.

    A feature of which nothing is left is held too: its rounding would be the score itself.
    """
    live, held = moments.varies, moments.constant
    edit = torch.eye(len(told), dtype=torch.double) - told @ scores
    left = (edit @ moments.within[live][:, live] * edit).sum(1)
    held[live] = left <= moments.coarse[live]
    found = torch.eye(len(live), dtype=torch.double)
    found[live.nonzero(), live.nonzero().mT] = edit
    found[held] = 0
    return Map(found, moments.mean - found @ moments.mean, told.shape[1])


def _axes(directions: Float[Tensor, "d c"]) -> Float[Tensor, "d k"]:
    """Orthogonal axes of all that these directions span."""
    axes, sizes, _ = torch.linalg.svd(directions, full_matrices=False)
    found: Tensor = axes[:, sizes > _ALIKE * sizes.max().clamp_min(_SMALLEST)]
    return found


def _blocks(inside: Float[Tensor, "n c"], z: Float[Tensor, "n m"]) -> Float[Tensor, "n b"]:
    """The columns once for every class, each block zero outside its own."""
    return (inside[:, :, None] * z[:, None, :]).flatten(1)


def _plain(x: Tensor) -> Float[Tensor, "..."]:
    return x.detach().cpu().double()
