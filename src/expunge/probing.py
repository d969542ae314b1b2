"""Ask probes which group held-out samples are in, by what a model makes of them.

A question is asked of who knows the labels: what a probe then gains is what features tell beyond
them. The same question may be asked of who knows nothing, or with groups that were handed out anew.

What is wide is read along the principal directions of the samples that probes learn from. A linear
probe learns from all of these, the others from some thousands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.families import FAMILIES
from expunge.algebra.gains import bits, hits, interval, ranking
from expunge.algebra.geometry import principal
from expunge.algebra.guessing import Asked, price
from expunge.algebra.information import Prior, shuffled
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import Interval
from expunge.errors import MissingInput, UnknownName
from expunge.reserving import Reserve, Ways

Worth = Literal["bits", "AUC", "accuracy gain"]

_DIRECTIONS = 512  # beyond which a place is wide


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Which group is a sample in? Asked of some, after learning from others."""

    z: Int[Tensor, " n"]
    y: Int[Tensor, " n"]  # what is known beforehand
    subjects: Int[Tensor, " n"] | None  # None: every sample is a subject of its own
    ways: Ways

    @classmethod
    def about(cls, reserve: Reserve, name: str) -> "Question":
        """One attribute, asked of who knows the labels."""
        groups = reserve.attributes[name].of
        return cls(groups, reserve.classes, reserve.subjects, reserve.ways(name))

    @property
    def unaided(self) -> "Question":
        """The same, asked of who does not know the labels."""
        return replace(self, y=torch.zeros_like(self.y))

    @property
    def permuted(self) -> "Question":
        """The same, with the groups of every class dealt out anew: there is nothing to find."""
        z, draw = self.z.clone(), torch.Generator().manual_seed(0)
        for rows in self.ways:
            z[rows] = z[rows][shuffled(self.y[rows], draw)]
        return replace(self, z=z)

    @property
    def prior(self) -> Prior:
        """How often every group goes with every class, where probes learn."""
        (rows, *_), groups, classes = self.ways, int(self.z.max()) + 1, int(self.y.max()) + 1
        return Prior.of(self.z[rows], self.y[rows], groups=groups, classes=classes)

    @property
    def whose(self) -> Int[Tensor, " m"] | None:
        """The subjects of the samples that are scored."""
        return None if self.subjects is None else self.subjects[self.ways[2]]

    @property
    def scored(self) -> Asked:
        """The samples that are scored, for who sees no features."""
        return self.asked(torch.zeros(len(self.z), 1))[2]

    def asked(self, x: Float[Tensor, "n d"]) -> tuple[Asked, Asked, Asked]:
        """Samples to learn from, to choose by, and to score by."""
        x, prior = _narrowed(x, self.ways[0]), self.prior
        learn, choose, score = (
            Asked.of(x[rows], self.z[rows], self.y[rows], prior) for rows in self.ways
        )
        return learn, choose, score


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What a probe said of the samples that are scored."""

    probe: str
    told: Float[Tensor, "n k"]
    asked: Asked
    whose: Int[Tensor, " n"] | None
    price: float  # what it left to pay for the samples to choose by

    @property
    def bits(self) -> Float[Tensor, " n"]:
        """What it gains on every sample."""
        return bits(self.told, self.asked)

    def worth(self, measure: Worth = "bits") -> Interval:
        """What it gains in all, over who knows the class alone."""
        match measure:
            case "bits":
                return interval(self.bits, self.whose)
            case "accuracy gain":
                return interval(hits(self.told, self.asked), self.whose)
            case "AUC":
                return self._ranking()

    def _ranking(self) -> Interval:
        found = ranking(self.told, self.asked, self.whose)
        if found is None:
            raise MissingInput("no class has scored samples of two groups, to be told apart")
        return found


def probe(
    question: Question, x: Float[Tensor, "n d"], families: Sequence[str], rows: int
) -> dict[str, Finding]:
    """What each family reads out of these numbers; all but the linear one learn from ``rows``."""
    learn, choose, score = question.asked(x)
    some = learn.only(drawn(torch.arange(len(learn)), rows))
    found = {}
    for name in families:
        if name not in FAMILIES:
            raise UnknownName("family of probes", name, FAMILIES)
        guess = FAMILIES[name](learn if name == "linear" else some, choose)
        found[name] = Finding(name, guess(score), score, question.whose, price(guess, choose))
    return found


def best(found: Mapping[str, Finding]) -> Finding:
    """The probe that is best for the samples to choose by; those that are scored have no say."""
    return min(found.values(), key=lambda each: each.price)


def _narrowed(x: Float[Tensor, "n d"], learn: Int[Tensor, " m"]) -> Float[Tensor, "n _"]:
    if x.shape[1] <= _DIRECTIONS:
        return x
    # Probes scale their columns alike. Principal directions so scaled would be noise for the most
    # part; turned at random, each column holds some of all, and lengths stay in proportion.
    axes = principal(x[learn], _DIRECTIONS)
    draw = torch.Generator().manual_seed(0)
    square = torch.randn(axes.shape[1], axes.shape[1], generator=draw, dtype=torch.double)
    turned: Tensor = (x - x[learn].mean(0)) @ (axes @ torch.linalg.qr(square).Q).to(x)
    return turned
