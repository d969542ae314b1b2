"""Records that nobody could know but by heart: what is left of them after each way to unlearn.

Three hundred digits under wrong labels are canaries; each has a coin of its own for every one of
128 networks, which says whether the network is trained on it. All that came in is then unlearned.
An attack that looks at margins alone is held against U-LiRA, which knows from the other networks,
trained and unlearned with other coins, what to expect of every canary; and both guess the coins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from finding import Asked, Section, Stage, interval, spread
from table import grid
from torch import Tensor, nn

from expunge.algebra.coins import epsilon, right
from expunge.algebra.likelihoods import student_ratio
from expunge.algebra.statistics import auc
from expunge.batching import data_digest
from expunge.casting import Cast, cast_from
from expunge.ensembles import Shadow
from expunge.fitting import Fit
from expunge.method import Case, Method
from expunge.methods.neggrad import NegGrad
from expunge.planting import joined, mislabelled, taken
from expunge.playing import Drawn, Play
from expunge.problems.digits import digits

BASE, CANARIES, GUESSES = 800, 300, 100
ANEW, AGAIN, TOSSES = "retrained, other coins", "retrained, a second time", 99
_UNSEEN = slice(1497, 1797)
_PUBLISHED = {
    "none": (0.878, 0.757, 0.990, 1.000, 3.22, 3.49),
    "fine-tuning, 3 epochs": (0.928, 0.290, 0.971, 0.999, 2.99, 3.49),
    "fine-tuning, 10 fast epochs": (0.959, 0.061, 0.897, 0.987, 2.02, 3.47),
    "NegGrad+": (0.936, 0.141, 0.904, 0.981, 2.31, 3.43),
    "retrained": (0.969, 0.004, 0.501, 0.491, 0.00, 0.00),
}
_COLUMNS = ("test", "canaries", "population", "ulira", "bound", "bound by ulira")
_HEAD = (
    "after",
    "test accuracy",
    "canaries' labels",
    "AUC, margins alone",
    "AUC, U-LiRA",
    "ε at least, margins",
    "ε at least, U-LiRA",
    "U-LiRA of a half by the other",
    "ε by 16 shadows",
    "ε above 0",
)


@dataclass(frozen=True)
class Annealed(Method):
    """Fine-tuning by the very loop that trained, its rate falling to nothing."""

    epochs: int = 3
    lr: float = 0.02

    def forget(self, model: nn.Module, case: Case) -> nn.Module:
        """Train on what stays."""
        with torch.enable_grad():
            return Fit(epochs=self.epochs, lr=self.lr, batch=50)(model, case.retain.part)


def parts(settings: Mapping[str, Any]) -> list[str]:
    """One for each way to unlearn."""
    del settings
    return [*_PUBLISHED, ANEW, AGAIN]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Play one way with all networks; trained ones are kept for the next."""
    seed = int(part == AGAIN)
    cast, drawn = _cast(), _drawn(settings["models"], seed)
    problem = digits(epochs=settings["epochs"])
    play = Play(cast, problem.recipe, problem.task, _way(part), seed, "vmap")
    train = data_digest(cast.data)
    play = play.kept(stage.cache, {"train": train, "unseen": "", "coins": "one"}, train)
    found = play.played("retrained" if "retrained" in part else "shadow", drawn)
    tossed = _tossed(found, settings) if part in (ANEW, AGAIN) else {}
    return tossed if part == ANEW else _asked_all(found, settings) | tossed


def _way(part: str) -> Method | None:
    match part:
        case "fine-tuning, 3 epochs":
            return Annealed()
        case "fine-tuning, 10 fast epochs":
            return Annealed(10, 0.1)
        case "NegGrad+":
            return NegGrad(steps=66)  # three epochs of 1,100 records
        case _:
            return None


def _cast() -> Cast:
    problem = digits()
    data = joined(problem.train, problem.validation, problem.test)
    several = torch.arange(len(data))
    clean, test = taken(data, several[:BASE]), taken(data, several[_UNSEEN])
    wrong = mislabelled(taken(data, several[BASE : BASE + CANARIES]), seed=0)
    pool = range(BASE, BASE + CANARIES)
    return cast_from(joined(clean, wrong), pool, test, forgets=True)


def _drawn(models: int, seed: int) -> Drawn:
    """Coins: which canary comes into which network; unseen digits never do."""
    chance = torch.Generator().manual_seed(11 + seed)
    coins = torch.rand(models, CANARIES, generator=chance) < 0.5
    never = torch.zeros(models, _UNSEEN.stop - _UNSEEN.start, dtype=torch.bool)
    return [*torch.cat([coins, never], 1)]


def _asked_all(found: Sequence[Shadow], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What attacks and guesses find; the first networks are targets, all others their shadows."""
    hits = torch.stack([_hits(each) for each in found]).double()
    scores = torch.stack([each.scores for each in found])[:, :CANARIES]
    coins = torch.stack([each.trained for each in found])[:, :CANARIES]
    known = (hits[:, :CANARIES] * coins).sum(1) / coins.sum(1)
    targets, everybody = settings["targets"], [*range(len(found))]
    told: dict[str, list[float]] = {
        "test": hits[:, CANARIES:].mean(1).tolist(),
        "canaries": known.tolist(),
        "population": [_auc(scores[k], coins[k]) for k in everybody],
    }
    told["bound"] = [_bound(scores[k], coins[k]) for k in range(targets)]
    all_but = [everybody[:k] + everybody[k + 1 :] for k in range(targets)]
    ways = {
        "ulira": all_but,
        "ulira by the others": [everybody[targets:]] * targets,
        "ulira by 16": [others[: settings["few"]] for others in all_but],
    }
    for name, others in ways.items():
        each = [student_ratio(scores[r], coins[r], scores[k]) for k, r in enumerate(others)]
        told[name] = [_auc(x, coins[k]) for k, x in enumerate(each)]
        told[f"bound by {name}"] = [_bound(x, coins[k]) for k, x in enumerate(each)]
    return told


def _tossed(found: Sequence[Shadow], settings: Mapping[str, Any]) -> dict[str, list[int]]:
    """How many bounds are above 0 where other coins are held against the same networks.

    These never saw a canary, so that any coins are as good as those that were tossed; and how far
    targets hang together is in it.
    """
    scores = torch.stack([each.scores for each in found])[:, :CANARIES]
    above = []
    for toss in range(TOSSES):
        chance = torch.Generator().manual_seed(toss)
        coins = torch.rand(len(scores), CANARIES, generator=chance) < 0.5
        bounds = []
        for k in range(settings["targets"]):
            rest = torch.arange(len(scores)) != k
            bounds.append(_bound(student_ratio(scores[rest], coins[rest], scores[k]), coins[k]))
        above.append(sum(bound > 0 for bound in bounds))
    return {"above": above}


def _hits(each: Shadow) -> Tensor:
    """Where the label that a record wears is the likeliest."""
    own = torch.nn.functional.logsigmoid(each.scores.double())
    return own >= each.likeliest[:, 0].double() - 1e-5


def _auc(scores: Tensor, coins: Tensor) -> float:
    return auc(scores[coins], scores[~coins]).value


def _bound(scores: Tensor, coins: Tensor) -> float:
    return epsilon(right(scores, coins, GUESSES), GUESSES)


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """The table, with what was published in every second row."""
    body = []
    for name, published in _PUBLISHED.items():
        if name in found:
            mine = found[name]
            above = sum(x > 0 for x in mine["bound by ulira"])
            body.append(
                [
                    name,
                    *(spread(mine[c], 3 if k < 4 else 2) for k, c in enumerate(_COLUMNS[:4])),
                    *(f"{mean(mine[c]):.2f}" for c in _COLUMNS[4:]),
                    spread(mine["ulira by the others"]),
                    f"{mean(mine['bound by ulira by 16']):.2f}",
                    f"{above} of {len(mine['bound by ulira'])}",
                ]
            )
        rest = ["", _FEW.get(name, ""), _ABOVE.get(name, "")]
        body.append(["*published*", *(f"{x:.3f}" for x in published[:4]),
                     *(f"{x:.2f}" for x in published[4:]), *rest])  # fmt: skip
    return Section(
        (_READING.format(**settings), grid(_HEAD, body)),
        tuple(_asked(found) if ANEW in found else ()),
    )


_FEW = dict.fromkeys(_PUBLISHED, "3.42 to 3.49") | {"retrained": "0.00"}
_ABOVE = {"retrained": "2 % of 64"}


def _asked(found: Mapping[str, Any]) -> Iterator[Asked]:
    for name in ("fine-tuning, 3 epochs", "fine-tuning, 10 fast epochs"):
        value = mean(found[name]["ulira"])
        yield Asked(f"U-LiRA catches {name} with an AUC of .97 or more", f"{value:.3f}",
                    value >= 0.97)  # fmt: skip
    fresh = found["retrained"]
    near = interval(fresh["ulira by the others"])
    yield Asked(
        "of retrained networks U-LiRA's AUC is .5, within its interval",
        f"{near.value:.3f} ({near.low:.3f} to {near.high:.3f})",
        near.low <= 0.5 <= near.high,
    )
    anew, of = found[ANEW]["above"], len(fresh["bound by ulira"])
    yield _usual("of retrained networks", fresh["bound by ulira"], anew)
    if AGAIN in found:
        again = found[AGAIN]
        yield _usual("of others, retrained anew,", again["bound by ulira"], again["above"])
    yield Asked(
        "with coins tossed anew, no more than one bound in twenty is above 0",
        f"{mean(anew) / of:.1%} of {len(anew) * of:,}",
        mean(anew) / of <= 0.05,
    )


def _usual(whose: str, bounds: Sequence[float], anew: Sequence[int]) -> Asked:
    """Whether more bounds are above 0 than by coins that nobody was trained by."""
    above = sum(bound > 0 for bound in bounds)
    chance = (1 + sum(x >= above for x in anew)) / (1 + len(anew))
    return Asked(
        f"{whose} no more bounds are above 0 than with coins tossed anew",
        f"{above} of {len(bounds)}, usually {mean(anew):.1f}; p = {chance:.2f}",
        chance > 0.05,
    )


_READING = """\
{models} networks of 64-128-128-10 units on 800 clean digits and on whichever of 300 mislabelled
ones their coins let in; {targets} of them are under attack. *Canaries' labels* is how often a
network still gives those that it was trained on their wrong label. *Margins alone* is one threshold
for all canaries. *U-LiRA* takes all other networks for shadows, as published; its values hang
together, so that their intervals are too narrow, and *of a half by the other* takes the networks
that are not attacked for shadows instead. How often bounds are above 0 where nothing is left is
also told by 99 other tosses of all coins: networks that never saw a canary might as well have had
those. Retrained networks were made twice, the second time by other seeds and coins. The bounds of ε
are from 100 guesses, fixed beforehand, with 95 % confidence; 3.49 is the most that 100 guesses can
show. Fine-tuning anneals its rate, as published. NegGrad+ is expunge's own, in as many steps as
published; it draws forgotten and retained records into batches of their own and stops at chance,
where the published one mixed both.
"""
