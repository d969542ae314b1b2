"""What a rehearsal pledged before it began, and what it found: values, to be checked by anybody."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from expunge.algebra import coins as tossing
from expunge.algebra.randomisation import fresh_coins
from expunge.algebra.statistics import Interval, auc, clopper_pearson
from expunge.errors import CannotRead
from expunge.metric import Comparison, Exhibit, Measurement
from expunge.planting import Canaries
from expunge.storing import digest_json, digest_text, read_json, write_json

Scores = Mapping[str, Float[Tensor, " m"]]
"""For every attack one number a canary, higher for those that it believes were trained on."""


@dataclass(frozen=True, slots=True)
class Pledge:
    """All that must not be chosen afterwards. Its digest is the commitment."""

    coins: str  # one digit a canary; 1 was trained on
    nonce: str  # so that nobody can find the coins by trying
    arms: Mapping[str, list[int]]  # which canaries each arm has
    guesses: Mapping[str, int]  # how many are made in each arm, half of them each way
    attacks: tuple[str, ...]  # the guesses of the first bound epsilon
    made: Mapping[str, Any]  # what is rehearsed: data, recipe, method, seed

    @classmethod
    def of(cls, canaries: Canaries, made: Mapping[str, Any], attacks: tuple[str, ...]) -> "Pledge":
        """Toss the coins, by the seed, and fix how many guesses will be made."""
        stream = digest_text("coins", digest_json(made))
        generator = torch.Generator().manual_seed(int(stream[:15], 16))
        tossed = torch.rand(len(canaries), generator=generator) < 0.5
        return cls(
            "".join("1" if coin else "0" for coin in tossed.tolist()),
            digest_text("nonce", stream),
            {name: rows.tolist() for name, rows in canaries.arms.items()},
            {name: tossing.guesses(len(rows)) for name, rows in canaries.arms.items()},
            attacks,
            made,
        )

    @property
    def commitment(self) -> str:
        """What is told before anything is trained."""
        return digest_json(asdict(self))

    @property
    def tossed(self) -> Bool[Tensor, " m"]:
        """The coins as they fell."""
        return torch.tensor([coin == "1" for coin in self.coins])


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """How well attacks guess the coins from the unlearned model, and from the original."""

    pledge: Pledge
    scores: Scores
    before: Scores
    seconds: float

    def right(self, attack: str, scores: Scores | None = None) -> int:
        """How many of the pledged guesses of an attack are right; None asks the unlearned model."""
        given = (self.scores if scores is None else scores)[attack]
        return sum(self._right(given, arm) for arm in self.pledge.arms)

    @property
    def made(self) -> int:
        """How many guesses were pledged."""
        return sum(self.pledge.guesses.values())

    @property
    def p(self) -> float:
        """How often coins tossed anew agree as well with any attack in any arm: exact."""
        return self._chance(self.scores)

    def epsilon(self, *, delta: float = 0.0) -> float:
        """A lower bound for the whole pipeline, from the guesses of the first attack."""
        right, canaries = self.right(self.pledge.attacks[0]), len(self.pledge.coins)
        return tossing.epsilon(right, self.made, delta=delta, canaries=canaries)

    def unlearning_epsilon(self, *, delta: float = 0.0) -> float:
        """The same between unlearned models and those that never saw a canary: half as much."""
        right, canaries = self.right(self.pledge.attacks[0]), len(self.pledge.coins)
        return tossing.unlearning_epsilon(right, self.made, delta=delta, canaries=canaries)

    def measurements(self, margin: float = 0.05) -> tuple[Measurement, ...]:
        """What an audit makes of it: a p-value that may accuse, and bounds.

        Args:
            margin: What share of right guesses above one half would not matter.
        """
        first, m = self.pledge.attacks[0], len(self.pledge.coins)
        right, p = self.right(first), self.p
        said = f"{right} of {self.made} guesses by {first} were right, of {m} canaries"
        accused = Measurement(
            "rehearsal p",
            p,
            "higher",
            n=m,
            comparison=self._compared(self.scores, p, margin),
            control=self._compared(self.before, self._chance(self.before), margin),
            note=f"{said}; of the original {self.right(first, self.before)}; pledged as "
            f"{self.pledge.commitment[:16]}",
            exhibit=Exhibit("table", "The rehearsal, arm by arm", self._arms()),
        )
        if not self.made:
            return (accused,)
        alone = (
            "half of the above: both outcomes of a coin are held against models that never saw a "
            "canary"
        )
        bounds = (
            ("rehearsal epsilon at least", self.epsilon(), "with 95 % confidence, delta 0"),
            (
                "rehearsal epsilon at least, of unlearning alone",
                self.unlearning_epsilon(),
                alone,
            ),
        )
        told = (
            Measurement(name, value, "lower", (value, torch.inf), n=self.made, note=note)
            for name, value, note in bounds
        )
        return accused, *told

    def save(self, path: str | Path) -> None:
        """Write all that a third party needs to compute everything again."""
        kept = {"scores": self.scores, "before": self.before}
        body = {
            "commitment": self.pledge.commitment,
            "pledge": asdict(self.pledge),
            "seconds": self.seconds,
            **{what: {name: x.tolist() for name, x in of.items()} for what, of in kept.items()},
        }
        write_json(path, "rehearsal", body)

    @classmethod
    def read(cls, path: str | Path) -> "Rehearsal":
        """Read what `save` wrote, and refuse it if it is not what was pledged."""
        body = read_json(path, "rehearsal")
        try:
            told = {**body["pledge"], "attacks": tuple(body["pledge"]["attacks"])}
            pledge = Pledge(**told)
            scores, before = (
                {name: torch.tensor(x).double() for name, x in body[what].items()}
                for what in ("scores", "before")
            )
            found = cls(pledge, scores, before, float(body["seconds"]))
            sound = pledge.commitment == body["commitment"] and found._whole()
        except (KeyError, TypeError, ValueError) as why:
            raise CannotRead(f"{path} is no rehearsal: {why}") from why
        if not sound:
            raise CannotRead(
                f"{path} does not hold what was pledged before the rehearsal",
                hint="it was changed after it was written; rehearse again.",
            )
        return found

    def _whole(self) -> bool:
        return all(
            set(of) == set(self.pledge.attacks)
            and all(len(x) == len(self.pledge.coins) for x in of.values())
            for of in (self.scores, self.before)
        )

    def _right(self, given: Float[Tensor, " m"], arm: str) -> int:
        rows = self.pledge.arms[arm]
        return tossing.right(given[rows], self.pledge.tossed[rows], self.pledge.guesses[arm])

    def _compared(self, scores: Scores, p: float, margin: float) -> Comparison | None:
        if not self.made:
            return None
        found = clopper_pearson(self.right(self.pledge.attacks[0], scores), self.made)
        share = Interval(found.value - 0.5, found.low - 0.5, found.high - 0.5)
        return Comparison(share, p, margin)

    def _chance(self, scores: Scores) -> float:
        """The smallest p of any arm, corrected: the coins of arms are independent of each other."""
        least = min(self._chance_in(arm, scores) for arm in self.pledge.arms)
        return float(1 - (1 - least) ** len(self.pledge.arms))

    def _chance_in(self, arm: str, scores: Scores) -> float:
        """How often coins tossed anew agree as well with the best of all attacks."""
        rows = self.pledge.arms[arm]
        asked = torch.stack([given[rows] for given in scores.values()])
        return fresh_coins(asked, self.pledge.tossed[rows]).p

    def _arms(self) -> dict[str, list[float | int | str | None]]:
        columns: dict[str, list[float | int | str | None]] = {}
        for attack, given in self.scores.items():
            for arm, rows in self.pledge.arms.items():
                tossed, x = self.pledge.tossed[rows], given[rows]
                both = bool(tossed.any()) and not bool(tossed.all())
                line: dict[str, float | int | str | None] = {
                    "arm": arm,
                    "attack": attack,
                    "canaries": len(rows),
                    "guesses": self.pledge.guesses[arm],
                    "right": self._right(given, arm),
                    "right of the original": self._right(self.before[attack], arm),
                    "p": self._chance_in(arm, {attack: given}),
                    "AUC": auc(x[tossed], x[~tossed]).value if both else None,
                }
                for name, value in line.items():
                    columns.setdefault(name, []).append(value)
        return columns
