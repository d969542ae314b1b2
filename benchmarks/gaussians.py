"""Planted scores: every distribution is known, and so is what the best attack can find.

Records differ in difficulty, in what membership adds, and in how far models differ about them; each
has its own shadow models. Attacks that must learn all that from a few models are held against one
that knows it.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import sqrt
from statistics import mean
from typing import Any

import numpy as np
import torch
from finding import Asked, Section, Stage, spread
from scipy import stats
from table import grid
from torch import Tensor

from expunge.algebra.likelihoods import normal_ratio, standing, student_ratio
from expunge.algebra.operating import advantage, tpr_at
from expunge.algebra.ratios import beaten, offline_ratio
from expunge.algebra.statistics import auc, clopper_pearson

Found = list[tuple[float, float]]
"""AUC, and TPR at 1 % FPR, world by world."""

_ATTACKS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "one threshold": lambda _, __, target: target,
    "LiRA, own variances": normal_ratio,
    "LiRA, one variance": partial(normal_ratio, spread="pooled"),
    "offline, above": standing,
    "student, average prior": partial(student_ratio, prior="average"),
    "student": student_ratio,
}
_TRUTH = "who knows everything"
_PUBLISHED = {
    2: (".586/.032", ".615/.015", ".698/.069", ".680/.070", ".702/.082", "-", ".775/.178"),
    4: (".586/.026", ".694/.044", ".723/.094", ".701/.070", ".726/.109", "-", ".779/.184"),
    16: (".582/.025", ".754/.138", ".753/.135", ".707/.088", ".757/.145", "-", ".774/.179"),
    64: (".581/.030", ".765/.174", ".757/.146", ".710/.092", ".766/.174", "-", ".771/.187"),
}
_IDENTITIES = (  # what is measured, and what it is
    ("AUC, members one deviation above", 0.7602),
    ("its TPR at 1 %", 0.0924),
    ("its TPR at .1 %", 0.0183),
    ("its largest advantage", 0.3829),
    ("AUC, two deviations", 0.9214),
    ("its TPR at 1 %, two", 0.3721),
    ("its TPR at .1 %, two", 0.1378),
    ("AUC, three deviations", 0.9831),
    ("its TPR at 1 %, three", 0.7497),
    ("its TPR at .1 %, three", 0.4641),
    ("AUC of one threshold, difficulties of three deviations", 0.5885),
    ("AUC of likelihoods of every record, the same difficulties", 0.7602),
)


def parts(settings: Mapping[str, Any]) -> list[str]:
    """One for every number of pairs of shadow models, closed forms, and population ratios."""
    return [*(f"{pairs} pairs" for pairs in settings["pairs"]), "closed forms", "population"]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Draw worlds and attack them."""
    del stage
    match part:
        case "closed forms":
            return _closed(settings["many"], settings["draws"])
        case "population":
            return _population(settings["many"])
        case _:
            return _planted(int(part.partition(" ")[0]), settings)


def _planted(pairs: int, settings: Mapping[str, Any]) -> dict[str, Found]:
    found: dict[str, Found] = {name: [] for name in (*_ATTACKS, _TRUTH)}
    for world in range(settings["worlds"]):
        scores, trained, target, member, truth = _world(pairs, settings["records"], world)
        for name, attack in _ATTACKS.items():
            found[name].append(_caught(attack(scores, trained, target), member))
        found[_TRUTH].append(_caught(truth, member))
    return found


def _world(pairs: int, n: int, seed: int) -> tuple[Tensor, ...]:
    """Shadow scores and who was in, a target's scores and who was in, and the true log-ratio."""
    rng = np.random.default_rng([seed, pairs])
    centre, gap = rng.normal(2, 3, n), rng.gamma(1.0, 1.0, n)
    out = rng.gamma(4, 0.25, n) ** -0.5
    into = out * rng.uniform(0.6, 1.1, n)
    half = rng.random((pairs, n)) < 0.5
    trained, member = np.concatenate([half, ~half]), rng.random(n) < 0.5

    def say(on: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        noise = rng.normal(size=on.shape)
        drawn: np.ndarray[Any, Any] = centre + np.where(on, gap + into * noise, out * noise)
        return drawn

    scores, target = say(trained), say(member)
    truth = stats.norm.logpdf(target, centre + gap, into) - stats.norm.logpdf(target, centre, out)
    return tuple(map(torch.from_numpy, (scores, trained, target, member, truth)))


def _caught(found: Tensor, member: Tensor) -> tuple[float, float]:
    inside, outside = found[member], found[~member]
    return auc(inside, outside).value, tpr_at(inside, outside, 0.01, draws=1).tpr.value


def _closed(n: int, draws: int) -> dict[str, list[float]]:
    """AUC and rates of shifted normal scores, draw by draw."""
    found: dict[str, list[float]] = {name: [] for name, _ in _IDENTITIES}
    for draw in range(draws):
        for value, (name, _) in zip(_once(n, draw), _IDENTITIES, strict=True):
            found[name].append(value)
    return found


def _once(n: int, draw: int) -> Iterator[float]:
    generator = torch.Generator().manual_seed(draw)
    y = torch.randn(n, generator=generator).double()
    for shift in (1, 2, 3):
        x = torch.randn(n, generator=generator).double() + shift
        yield auc(x, y).value
        yield from (tpr_at(x, y, rate, draws=1).tpr.value for rate in (0.01, 0.001))
        if shift == 1:
            yield advantage(x, y).value
    own, other = (3 * torch.randn(n, generator=generator).double() for _ in range(2))
    x, y = (torch.randn(n, generator=generator).double() for _ in range(2))
    yield auc(x + own + 1, y + other).value
    yield auc(x + 1, y).value  # the ratio of a record's two normal densities orders as this does


def _population(n: int) -> dict[str, Any]:
    """RMIA orders records as its ratios do, and its score is a p-value."""
    generator = torch.Generator().manual_seed(5)
    ratio, z = (torch.rand(m, 2, generator=generator).double() * 0.95 + 0.05 for m in (n, n // 2))
    ratio, z = ratio[:, 0] / ratio[:, 1], z[:, 0] / z[:, 1]
    member = torch.rand(n, generator=generator) < ratio / (ratio + 1)
    score = beaten(ratio, z)
    models = torch.rand(6, 2 * n, generator=generator).double()
    nobody = torch.zeros(6, 2 * n, dtype=torch.bool)
    outside = offline_ratio(models, nobody, torch.rand(2 * n, generator=generator).double(), a=0.4)
    beats = beaten(outside[: n // 10], outside[n // 10 :])  # a population has noise of its own
    rates = {str(b): int((beats >= b).sum()) for b in (0.5, 0.9, 0.99)}
    return {
        "by score": auc(score[member], score[~member]).value,
        "by ratio": auc(ratio[member], ratio[~member]).value,
        "kolmogorov p": float(stats.kstest(beats.numpy(), "uniform").pvalue),
        "beyond": rates,
        "of": n // 10,
    }


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """Two tables and two sentences."""
    text, asked = [_READING.format(**settings)], []
    head = ["shadow models a side", *_ATTACKS, _TRUTH]
    body = []
    for pairs in settings["pairs"]:
        mine = found.get(f"{pairs} pairs")
        if mine:
            body.append([str(pairs), *(_both(mine[name]) for name in (*_ATTACKS, _TRUTH))])
            told = _PUBLISHED.get(pairs, ())
            body += [["*published*", *told]] if told else []
            asked.append(_best(pairs, mine))
    text.append(grid(head, body))
    if "closed forms" in found:
        rows, met = _identities(found["closed forms"])
        text += [_CLOSED, grid(["what", "known", "found"], rows)]
        asked.append(met)
    if "population" in found:
        asked += _calibrated(found["population"])
    return Section(tuple(text), tuple(asked))


def _both(found: Found) -> str:
    aucs, rates = zip(*found, strict=True)
    return f"{spread(aucs)} / {mean(rates):.3f}"


def _best(pairs: int, found: Mapping[str, Found]) -> Asked:
    """The student ratio is at most .005 behind either normal one."""
    own, other, ours = (
        mean(a for a, _ in found[name])
        for name in ("LiRA, own variances", "LiRA, one variance", "student")
    )
    return Asked(
        f"with {pairs} models a side the student ratio finds what normal ones find, less .005",
        f"{ours:.3f} against {max(own, other):.3f}",
        ours >= max(own, other) - 0.005,
    )


def _identities(found: Mapping[str, list[float]]) -> tuple[list[list[str]], Asked]:
    rows, far = [], 0
    for name, known in _IDENTITIES:
        values = found[name]
        rows.append([name, f"{known:.4f}", spread(values, 4)])
        error = np.std(values, ddof=1) / sqrt(len(values)) if len(values) > 1 else 0.0
        far += bool(abs(mean(values) - known) > 4 * error + 0.002)
    claim = "closed forms of shifted normal scores hold, within .002 and four standard errors"
    return rows, Asked(claim, f"{far} of {len(rows)} are off", far == 0)


def _calibrated(found: Mapping[str, Any]) -> Iterator[Asked]:
    apart = abs(found["by score"] - found["by ratio"])
    yield Asked(
        "RMIA orders records as its ratios do (published .74453 against .74451)",
        f"AUC {found['by score']:.5f} against {found['by ratio']:.5f}",
        apart < 1e-3,
    )
    yield Asked(
        "RMIA's score of who was not there is uniform, at .1 %",
        f"Kolmogorov and Smirnov's p = {found['kolmogorov p']:.3f}",
        found["kolmogorov p"] > 0.001,
    )
    for b, count in found["beyond"].items():
        rate = clopper_pearson(count, found["of"], 0.999)
        yield Asked(
            f"of these, {1 - float(b):.0%} beat a share of {b} or more, within the 99.9 % interval",
            f"{rate.value:.2%} ({rate.low:.2%} to {rate.high:.2%})",
            rate.low <= 1 - float(b) <= rate.high,
        )


_READING = """\
AUC and TPR at 1 % FPR of {records} records, half of them members of the target; means of {worlds}
worlds. *Student* is expunge's default: its prior for one side of a record comes from the other
side. *With the average prior* is the published estimator; its column has its published values.
"""

_CLOSED = """\
Scores of members and others are normal and differ by their means alone, so that everything is known
in closed form.
"""
