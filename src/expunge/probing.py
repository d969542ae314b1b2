"""Ask probes which group held-out samples are in, by what a model makes of them.

A question is asked of who knows the labels: what a probe then gains is what features tell beyond
them. A label that is a number is among what every probe reads, and the bets that it must beat are
those of the best probe of the number alone. The same question may be asked of who knows nothing, or
with groups that were handed out anew.

A linear probe reads all columns, from as many samples as can be held at once. The others learn from
some thousands, and read what is wide along its principal directions: half of them those of the
columns as they are, half those of columns of one size. Neither what a model shrank nor what stands
among many columns of next to nothing is lost that way.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expunge.algebra.families import FAMILIES
from expunge.algebra.gains import bits, hits, interval, ranking
from expunge.algebra.geometry import principal
from expunge.algebra.guessing import Asked, Standard, price
from expunge.algebra.information import Prior, shuffled
from expunge.algebra.sampling import drawn
from expunge.algebra.statistics import Interval
from expunge.errors import MissingInput, UnknownName
from expunge.reserving import Reserve, Rows, Ways

Worth = Literal["bits", "AUC", "accuracy gain"]

_DIRECTIONS = 512  # beyond which a place is wide
_WIDE = {"linear"}  # families that read all columns
_HELD = 2**24  # numbers in the rows that are solved for at once; 128 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Which group is a sample in? Asked of some, after learning from others."""

    z: Int[Tensor, " n"]
    y: Int[Tensor, " n"]  # what is known beforehand
    subjects: Int[Tensor, " n"] | None  # None: every sample is a subject of its own
    ways: Ways
    number: Float[Tensor, "n l"] | None = None  # the label itself, where its class is not all of it
    told: Float[Tensor, "n k"] | None = None  # what the number tells, as log2-probabilities

    @classmethod
    def about(cls, reserve: Reserve, name: str) -> "Question":
        """One attribute, asked of who knows the labels."""
        groups = reserve.attributes[name].of
        bare = cls(groups, reserve.classes, reserve.subjects, reserve.ways(name))
        return bare if reserve.numbers is None else bare.knowing(reserve.numbers)

    def knowing(self, number: Float[Tensor, "n l"]) -> "Question":
        """The same, asked of who knows the labels themselves, and not their classes alone."""
        bare = replace(self, number=None, told=None)
        return replace(bare, number=number, told=_told_by(number, bare))

    @property
    def unaided(self) -> "Question":
        """The same, asked of who does not know the labels."""
        return replace(self, y=torch.zeros_like(self.y), number=None, told=None)

    @property
    def permuted(self) -> "Question":
        """The same, with the groups of every class dealt out anew: there is nothing to find."""
        z, draw = self.z.clone(), torch.Generator().manual_seed(0)
        for rows in self.ways:
            z[rows] = z[rows][shuffled(self.y[rows], draw)]
        dealt = replace(self, z=z)
        return dealt if self.number is None else dealt.knowing(self.number)

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
        whole = self.everyone(x)
        learn, choose, score = (whole.only(rows) for rows in self.ways)
        return learn, choose, score

    def everyone(self, x: Float[Tensor, "n d"]) -> Asked:
        """All samples, those whose group is not known too."""
        seen = x if self.number is None else torch.cat([x, self.number], 1)
        asked = Asked.of(seen, self.z, self.y, self.prior)
        return asked if self.told is None else replace(asked, bets=self.told)


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
        """What it gains in all, over who knows the label alone."""
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
            raise MissingInput("no class has enough scored samples of two groups, to be told apart")
        return found


def probe(
    question: Question, x: Float[Tensor, "n d"], families: Sequence[str], rows: int
) -> dict[str, Finding]:
    """What each family reads out of these numbers; all but the linear one learn from ``rows``."""
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise UnknownName("family of probes", unknown[0], FAMILIES)
    most = _HELD // max(1, x.shape[1])
    near = _within(x, question.ways[0])
    few = _narrowed(near, _some(question.ways[0], min(rows, most))) if {*families} - _WIDE else near
    return {
        name: _found(question, name, *((near, most) if name in _WIDE else (few, rows)))
        for name in families
    }


def best(found: Mapping[str, Finding]) -> Finding:
    """The probe that is best for the samples to choose by; those that are scored have no say."""
    return min(found.values(), key=lambda each: each.price)


def _found(question: Question, name: str, x: Float[Tensor, "n d"], rows: int) -> Finding:
    learn, choose, score = question.asked(x)
    some = _some(torch.arange(len(learn)), rows)
    guess = FAMILIES[name](learn.only(some), choose)
    return Finding(name, guess(score), score, question.whose, price(guess, choose))


def _some(rows: Rows, most: int) -> Rows:
    return rows[drawn(rows, most)]


def _within(x: Float[Tensor, "n d"], learn: Rows) -> Float[Tensor, "n d"]:
    # What hardly ever varies can be thousands of deviations away in another sample.
    return x.clamp(x[learn].amin(0), x[learn].amax(0))


def _narrowed(x: Float[Tensor, "n d"], learn: Rows) -> Float[Tensor, "n _"]:
    if x.shape[1] <= _DIRECTIONS:
        return x
    x = _within(x, learn)
    alike = Standard.of(x[learn])(x).to(x)
    return torch.cat([_turned(each, learn) for each in (x, alike)], 1)


def _turned(x: Float[Tensor, "n d"], learn: Rows) -> Float[Tensor, "n _"]:
    # Probes scale their columns alike. Principal directions so scaled would be noise for the most
    # part; turned at random, each column holds some of all, and lengths stay in proportion.
    axes = principal(x[learn], _DIRECTIONS // 2)
    draw = torch.Generator().manual_seed(0)
    square = torch.randn(axes.shape[1], axes.shape[1], generator=draw, dtype=torch.double)
    turned: Tensor = (x - x[learn].mean(0)) @ (axes @ torch.linalg.qr(square).Q).to(x)
    return turned


def _told_by(number: Float[Tensor, "n l"], bare: Question) -> Float[Tensor, "n k"]:
    """What the best probe bets that reads a number alone; it never learnt from whom it bets on."""
    whole, (learn, choose, _) = bare.everyone(number), bare.ways
    aside = whole.only(choose)
    guesses = [(family, family(whole.only(learn), aside)) for family in FAMILIES.values()]
    family, guess = min(guesses, key=lambda each: price(each[1], aside))
    told = guess(whole)
    for mine, others in _halves(learn, bare.subjects):
        told[mine] = family(whole.only(others), aside)(whole.only(mine))
    return told


def _halves(rows: Rows, subjects: Int[Tensor, " n"] | None) -> Iterable[tuple[Rows, Rows]]:
    """Some rows and all others, then the other way round; nobody is in both."""
    whose = rows if subjects is None else subjects[rows]
    of = whose.unique(return_inverse=True)[1]
    draw = torch.Generator().manual_seed(0)
    side = torch.randperm(int(of.max()) + 1, generator=draw)[of] % 2
    first, second = rows[side == 0], rows[side == 1]
    return [(first, second), (second, first)] if len(second) else []
