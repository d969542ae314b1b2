"""Numbers that are not zero where nothing is to be found: what they are for models that are alike.

Margins of unlearned and of retrained models are drawn from one normal distribution: unlearning was
perfect. What the challenge's quality and KLoM say then is what a reader must compare with.
"""

from collections.abc import Iterator, Mapping
from math import log
from typing import Any

import torch
from finding import Asked, Section, Stage
from table import grid
from torch import Tensor

from expunge.algebra.challenge import epsilon_bounds, epsilons, points, relative_quality
from expunge.algebra.klom import histogram_klom, normal_klom
from expunge.algebra.statistics import auc

_QUALITY = {8: ".18", 32: ".10", 64: ".10", 256: ".13", 512: ".2"}
_SHIFTED = {64: 0.79, 256: 1.73}
_KLOM = {8: 6.4, 16: 3.8, 25: 2.3, 50: 0.89, 100: 0.36, 200: 0.15}
_NORMAL = {8: 0.36, 16: 0.15, 50: 0.04}


def parts(settings: Mapping[str, Any]) -> list[str]:
    """The AUC of nothing, the challenge for every number of models, and KLoM."""
    return ["auc", *(f"challenge {n}" for n in settings["models"]), "klom"]


def measure(part: str, settings: Mapping[str, Any], stage: Stage) -> dict[str, Any]:
    """Draw models that are alike, and some that are not."""
    del stage
    match part.split():
        case ["auc"]:
            return _nothing(settings["repeats"])
        case ["klom"]:
            return _apart(settings["repeats"])
        case [_, models]:
            return _told(int(models), settings["records"])
        case _:
            raise ValueError(part)


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def _nothing(repeats: int) -> dict[str, float]:
    """The AUC of 500 scores against 500 alike."""
    found = [auc(a, b) for a, b in _drawn(1, repeats, 2, 500)]
    values = torch.tensor([each.value for each in found])
    covered = sum(each.low <= 0.5 <= each.high for each in found)
    return {"deviation": values.std().item(), "covered": covered / repeats}


def _told(models: int, records: int) -> dict[str, float]:
    u, r = _drawn(2 * models, models, records), _drawn(2 * models + 1, models, records)
    found, bounds = epsilons(u, r), epsilon_bounds(u, r)
    return {
        "quality": points(found, models).mean().item(),
        "epsilon": found.mean().item(),
        "relative": relative_quality(u, r) or 0.0,
        "bounds above 0": (bounds > 0).double().mean().item(),
        "bound, two deviations apart": epsilon_bounds(u + 2, r).mean().item(),
    }


def _apart(repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {"histogram": {}, "normal": {}}
    for models in _KLOM:
        u, r = _drawn(3 * models, models, repeats), _drawn(3 * models + 1, models, repeats)
        found["histogram"][str(models)] = histogram_klom(u, r).mean().item()
        found["normal"][str(models)] = normal_klom(u, r).mean().item()
    u, r = _drawn(7, 100, repeats), _drawn(8, 100, repeats)
    found["tail of 100"] = histogram_klom(u, r).quantile(0.95).item()
    found["one deviation apart"] = histogram_klom(u + 1, r).mean().item()
    near = _drawn(9, 50, 1) * 0.01
    found["disjoint"] = histogram_klom(near, near + 50).item()
    return found


def section(found: Mapping[str, Any], settings: Mapping[str, Any]) -> Section:
    """Two tables."""
    text, asked = [_READING.format(**settings)], list[Asked]()
    if "auc" in found:
        asked += _of_auc(found["auc"])
    tried = {n: found[f"challenge {n}"] for n in settings["models"] if f"challenge {n}" in found}
    if tried:
        text.append(grid(_CHALLENGE, [_row(n, told) for n, told in tried.items()]))
        asked += _of_challenge(tried)
    if "klom" in found:
        told = found["klom"]
        rows = [
            [str(n), f"{told['histogram'][str(n)]:.2f}", f"{_KLOM[n]:.2f}",
             f"{told['normal'][str(n)]:.3f}", f"{_NORMAL[n]:.2f}" if n in _NORMAL else "-"]
            for n in _KLOM
        ]  # fmt: skip
        text.append(grid(_DIVERGENCE, rows))
        asked += _of_klom(told)
    return Section(tuple(text), tuple(asked))


def _row(models: int, told: Mapping[str, float]) -> list[str]:
    shift = _SHIFTED.get(models)
    return [
        str(models),
        f"{told['quality']:.2f}",
        _QUALITY.get(models, "-"),
        f"{told['epsilon']:.2f}",
        f"{told['relative']:.2f}",
        f"{told['bounds above 0']:.0%}",
        f"{told['bound, two deviations apart']:.2f}",
        "-" if shift is None else f"{shift:.2f}",
    ]


def _of_auc(told: Mapping[str, float]) -> Iterator[Asked]:
    yield Asked(
        "the AUC of 500 against 500 alike has a deviation of .0183 ± .001",
        f"{told['deviation']:.4f}",
        abs(told["deviation"] - 0.0183) <= 0.001,
    )
    yield Asked(
        "its 95 % interval holds .5 in 93 to 96 %",
        f"{told['covered']:.1%}",
        0.93 <= told["covered"] <= 0.96,
    )


def _of_challenge(tried: Mapping[int, Mapping[str, float]]) -> Iterator[Asked]:
    worst = max(told["bounds above 0"] for told in tried.values())
    yield Asked("no tested bound of ε is above 0 for models that are alike, in 100 %",
                f"at most {worst:.1%} are", worst == 0)  # fmt: skip
    near = [told["relative"] for told in tried.values()]
    yield Asked(
        "the quality relative to retraining is about 1, where the quality is not",
        f"{min(near):.2f} to {max(near):.2f}",
        all(0.8 <= x <= 1.25 for x in near),
    )
    for models, bound in _SHIFTED.items():
        if models in tried:
            ours = tried[models]["bound, two deviations apart"]
            yield Asked(
                f"{models} models two deviations apart have a bound of about {bound}",
                f"{ours:.2f}",
                abs(ours - bound) <= 0.2 * bound,
            )


def _of_klom(told: Mapping[str, Any]) -> Iterator[Asked]:
    off = {
        f"{kind} {n}": told[kind][str(n)] / value - 1
        for kind, known in (("histogram", _KLOM), ("normal", _NORMAL))
        for n, value in known.items()
    }
    worst = max(off, key=lambda name: abs(off[name]))
    yield Asked(
        "KLoM of models alike is as published, within 10 % or a half of its last digit",
        f"{off[worst]:+.0%} at the farthest ({worst})",
        all(
            abs(told[kind][str(n)] - value) <= max(0.1 * value, 0.005)
            for kind, known in (("histogram", _KLOM), ("normal", _NORMAL))
            for n, value in known.items()
        ),
    )
    yield Asked(
        "of models with nothing in common it is ln 100,000",
        f"{told['disjoint']:.4f} against {log(1e5):.4f}",
        abs(told["disjoint"] - log(1e5)) < 1e-3,
    )
    yield Asked(
        "100 models one deviation apart read 1.25, alike .68 at the 95th percentile",
        f"{told['one deviation apart']:.2f} and {told['tail of 100']:.2f}",
        abs(told["one deviation apart"] - 1.25) < 0.125 and abs(told["tail of 100"] - 0.68) < 0.07,
    )


_CHALLENGE = (
    "models of either kind",
    "quality",
    "*published*",
    "mean ε",
    "relative quality",
    "bounds above 0",
    "bound, two deviations apart",
    "*published*",
)
_DIVERGENCE = ("models of either kind", "KLoM", "*published*", "normal KLoM", "*published*")

_READING = """\
{records} records of models that are alike. The challenge's *quality* would be 1 if it meant what it
is taken for. Expunge tries every threshold that makes a difference; the published values are of a
grid, which finds less, so that its quality is somewhat higher. *Relative quality* is held against
retrained models among themselves, and *bounds* test on one half of the models what was found on the
other. KLoM is of {repeats} records.
"""
