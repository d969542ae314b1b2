"""Attributes that are to go: how much there is to know of each, and how a critic's answer is read.

A critic answers beside what it would bet if it saw the class alone, so that one that has learned
nothing is exactly as wise as that.
"""

from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.information import (
    Prior,
    Scalar,
    known,
    normal_entropy,
    normal_surprise,
    normal_vclub,
    shuffled,
    surprise,
    vclub,
)

_SURE, _VAGUE = -5.0, 3.0  # log-variances beyond which no critic may go: its bound would explode
_SAME = 1e-6  # of the deviation over all; a class in which numbers deviate less tells them


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """An attribute that puts everybody into a group; a critic answers with a logit for each."""

    name: str
    numbers: Int[Tensor, " k"]  # by which the task calls the groups, ascending
    prior: Prior

    @classmethod
    def of(
        cls, name: str, values: Int[Tensor, " n"], y: Int[Tensor, " n"], classes: int
    ) -> "Groups":
        """The groups that all who train are in."""
        numbers, z = values[values >= 0].unique(return_inverse=True)
        prior = Prior.of(z, y[values >= 0], groups=len(numbers), classes=classes)
        return cls(name, numbers, prior)

    @property
    def width(self) -> int:
        """How many numbers a critic answers."""
        return len(self.numbers)

    @property
    def entropy(self) -> float:
        """How much there is to know, in nats."""
        return self.prior.entropy

    def asked(self, z: Int[Tensor, " n"], y: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """About whom a critic is asked: all whose group is known, whatever their class."""
        del y
        return known(z)

    def read(self, values: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Groups counted from 0, or -1 where they are missing, or of nobody who trains."""
        numbers = self.numbers.to(values.device)
        place = torch.searchsorted(numbers, values.contiguous()).clamp_max(self.width - 1)
        return torch.where(numbers[place] == values, place, -1)

    def surprise(
        self, answers: Float[Tensor, "n k"], z: Int[Tensor, " n"], y: Int[Tensor, " n"]
    ) -> Scalar:
        """What a critic has not learned yet, and what nobody can."""
        return surprise(self._logits(answers, y), z)

    def bound(
        self, answers: Float[Tensor, "n k"], z: Int[Tensor, " n"], y: Int[Tensor, " n"]
    ) -> Scalar:
        """How much features tell beyond the class, at most, if the critic is right."""
        return vclub(self._logits(answers, y), z, self.prior.shares(y))

    def shown(self, z: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """A column for every group; nothing where the group is missing."""
        return F.one_hot(z.clamp_min(0), self.width).float() * known(z)[:, None]

    def _logits(self, answers: Tensor, y: Tensor) -> Float[Tensor, "n k"]:
        return answers + log(2) * self.prior.bets(y).to(answers)


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """An attribute that is a number; a critic answers with a mean and a log-variance."""

    name: str
    means: Float[Tensor, " c"]  # in every class; not a number where nobody is in it
    deviations: Float[Tensor, " c"]  # in every class; not a number where all in it are the same

    width: ClassVar[int] = 2
    entropy: ClassVar[float] = normal_entropy(1.0)  # inside a class, in units of its deviation

    @classmethod
    def of(
        cls, name: str, values: Float[Tensor, " n"], y: Int[Tensor, " n"], classes: int
    ) -> "Number":
        """The numbers of all who train."""
        z, y = values[known(values)].double(), y[known(values)]
        often = y.bincount(minlength=classes)  # 0 divided by 0 is not a number
        means = z.new_zeros(classes).index_add_(0, y, z) / often
        squares = z.new_zeros(classes).index_add_(0, y, (z - means[y]).square())
        deviations = (squares / often).sqrt()
        told = deviations <= _SAME * z.std(correction=0)
        return cls(name, means.float(), deviations.masked_fill(told, torch.nan).float())

    def asked(self, z: Float[Tensor, " n"], y: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """About whom a critic is asked: there is nothing to ask where the class tells all."""
        return known(self._apart(z, y))

    def read(self, values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Numbers in single precision."""
        return values.float()

    def surprise(
        self, answers: Float[Tensor, "n 2"], z: Float[Tensor, " n"], y: Int[Tensor, " n"]
    ) -> Scalar:
        """What a critic has not learned yet, and what nobody can."""
        return normal_surprise(*_normal(answers), self._apart(z, y))

    def bound(
        self, answers: Float[Tensor, "n 2"], z: Float[Tensor, " n"], y: Int[Tensor, " n"]
    ) -> Scalar:
        """How much features tell beyond the class, at most, if the critic is right."""
        return normal_vclub(*_normal(answers), self._apart(z, y), shuffled(y))

    def shown(self, z: Float[Tensor, " n"]) -> Float[Tensor, "n 2"]:
        """The number in its own units, and whether it is known."""
        plain = (z - self.means.nanmean().item()) / self.deviations.nanmean().item()
        return torch.stack([plain.nan_to_num(), known(z).float()], 1)

    def _apart(self, z: Tensor, y: Tensor) -> Float[Tensor, " n"]:
        """How far everybody is from the mean of the class, in its deviations."""
        return (z - self.means.to(y.device)[y]) / self.deviations.to(y.device)[y]


Hidden = Groups | Number


def hidden(name: str, values: Shaped[Tensor, " n"], y: Int[Tensor, " n"], classes: int) -> Hidden:
    """What all who train tell about an attribute: whole numbers name groups, others count."""
    kind = Number if values.is_floating_point() else Groups
    return kind.of(name, values, y, classes)


def _normal(answers: Float[Tensor, "n 2"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    mean, log_variance = answers.unbind(1)
    return mean, log_variance.clamp(_SURE, _VAGUE)
