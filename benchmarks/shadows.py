"""How fast an ensemble is trained, and how much its attacks find with few models and with many.

`python benchmarks/shadows.py` trains 128 perceptrons on halves of 1,200 digits in every way that
there is (16, where it is one after another), and 128 where a tenth of the digits has a random
label. Of these, 16 are attacked with the others as shadow models. Process seconds are those of all
processes together: they say what was worked, whatever else the machine did.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from expunge.algebra.likelihoods import normal_ratio, standing, student_ratio
from expunge.algebra.operating import tpr_at
from expunge.algebra.ratios import beaten, calibrated, offline_ratio, online_ratio
from expunge.algebra.statistics import auc
from expunge.ensembles import Shadows
from expunge.ensembling import Way, fit_many
from expunge.fitting import Fit
from expunge.problems.digits import CLASSES, PIXELS, digits
from expunge.problems.networks import mlp
from expunge.recipe import Recipe
from expunge.shadowing import shadow
from expunge.splitting import Part
from expunge.tasks import Classification

RESULTS = Path(__file__).parent / "results"
MODELS, TARGETS, POOL, POPULATION = 128, 16, 1200, 297
PAIRS = (4, 8, 16, 62)
WAYS: dict[Way, int] = {"auto": MODELS, "vmap": MODELS, "workers": MODELS, "loop": 16}
"""How many models each way trains; one by one takes long enough with a few."""

Attack = Callable[[Shadows, Tensor, int], Tensor]


def main() -> None:
    """Measure, write, and show."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--out", type=Path, default=RESULTS / "shadows.json")
    told.add_argument("--only", choices=["speed", "attacks"], help="one half of it")
    told.add_argument("--ways", nargs="*", choices=[*WAYS], default=[*WAYS])
    given = told.parse_args()
    found = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.only != "attacks":
        found["speed"] = found.get("speed", {}) | {way: speed(way) for way in given.ways}
    if given.only != "speed":
        found["attacks"] = attacks()
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


def speed(way: Way) -> dict[str, Any]:
    """Train an ensemble in one way, and look at both clocks."""
    data, recipe = _everybody(), _recipe()
    halves = [_half(POOL, k) for k in range(WAYS[way])]
    parts = [Part(data, half) for half in halves]
    busy, started = _busy(), time.perf_counter()
    trained = sum(1 for _ in fit_many(recipe, parts, range(len(parts)), way=way))
    seconds, worked = time.perf_counter() - started, _busy() - busy
    return {
        "models": trained,
        "records": len(halves[0]),
        "seconds": seconds,
        "process seconds": worked,
        "process seconds for 128": worked / trained * MODELS,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }


def attacks() -> dict[str, Any]:
    """AUC and TPR at 1 % FPR of every attack, averaged over the models under attack."""
    shadows = _shadows()
    told: dict[str, Any] = {"models": len(shadows), "targets": TARGETS, "by pairs": {}}
    for pairs in PAIRS:
        told["by pairs"][pairs] = {
            name: _averaged(shadows, attack, pairs) for name, attack in _attacks().items()
        }
    return told


def _attacks() -> dict[str, Attack]:
    return {
        "loss, one threshold for all": _threshold,
        "lira, normal": partial(_likelihood, normal_ratio),
        "lira, pooled": partial(_likelihood, partial(normal_ratio, spread="pooled")),
        "lira, above": partial(_likelihood, standing),
        "lira, student": partial(_likelihood, student_ratio),
        "lira, student with the average prior": partial(
            _likelihood, partial(student_ratio, prior="average")
        ),
        "rmia, online": _online,
        "rmia, offline": _offline,
    }


def _averaged(shadows: Shadows, attack: Attack, pairs: int) -> dict[str, float]:
    found = list(_each(shadows, attack, pairs))
    aucs, rates = (torch.tensor(values).double() for values in zip(*found, strict=True))
    return {
        "auc": aucs.mean().item(),
        "auc, deviation of targets": aucs.std().item(),
        "tpr at 1% fpr": rates.mean().item(),
    }


def _each(shadows: Shadows, attack: Attack, pairs: int) -> Iterator[tuple[float, float]]:
    """The first of every pair is a target; its shadow models are the first of all other pairs."""
    for pair in range(TARGETS):
        others = [k for k in range(len(shadows) // 2) if k != pair][:pairs]
        rows = torch.tensor([row for k in others for row in (2 * k, 2 * k + 1)])
        scores = attack(shadows, rows, 2 * pair)[:POOL]
        member = shadows.trained[2 * pair, :POOL]
        inside, outside = scores[member], scores[~member]
        rate = tpr_at(inside, outside, 0.01, draws=1).tpr.value
        yield auc(inside, outside).value, rate


def _threshold(shadows: Shadows, rows: Tensor, target: int) -> Tensor:
    del rows
    return shadows.scores[target]


def _likelihood(
    ratio: Callable[[Tensor, Tensor, Tensor], Tensor], shadows: Shadows, rows: Tensor, target: int
) -> Tensor:
    scores, trained = shadows.scores[:, :POOL], shadows.trained[:, :POOL]
    return ratio(scores[rows], trained[rows], scores[target])


def _online(shadows: Shadows, rows: Tensor, target: int) -> Tensor:
    confidence = shadows.scores.sigmoid()
    ratios = online_ratio(confidence[rows], shadows.trained[rows], confidence[target])
    return beaten(ratios, ratios[POOL:])


def _offline(shadows: Shadows, rows: Tensor, target: int) -> Tensor:
    confidence, trained = shadows.scores.sigmoid(), shadows.trained
    a = calibrated(confidence[rows][:, :POOL], trained[rows][:, :POOL])
    ratios = offline_ratio(confidence[rows], trained[rows], confidence[target], a=a)
    return beaten(ratios, ratios[POOL:])


def _shadows() -> Shadows:
    """Pairs of models on halves of digits, some of which have a label drawn at random."""
    x, y = _everybody().tensors
    noisy, draw = y[:POOL].clone(), torch.Generator().manual_seed(0)
    torch.randperm(len(y), generator=draw)  # the order of digits, by which other runs draw first
    wrong = torch.rand(POOL, generator=draw) < 0.1
    noisy[wrong] = torch.randint(0, 10, (int(wrong.sum()),), generator=draw)
    rest = slice(POOL, POOL + POPULATION)
    train, outside = TensorDataset(x[:POOL], noisy), TensorDataset(x[rest], y[rest])
    return shadow(_recipe(), train, task=Classification(), unseen=outside, count=MODELS)


def _everybody() -> TensorDataset:
    parts = digits()
    some = (parts.train, parts.validation, parts.test)
    columns = zip(*(cast("TensorDataset", part).tensors for part in some), strict=True)
    return TensorDataset(*(torch.cat(column) for column in columns))


def _recipe() -> Recipe:
    build = partial(mlp, inputs=PIXELS, width=128, classes=CLASSES)
    return Recipe(build, Fit(epochs=40, lr=0.1, batch=50), "digits")


def _half(size: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randperm(size, generator=draw)[: size // 2].sort().values


def _busy() -> float:
    """Seconds that this process and those that it has ended were at work."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


if __name__ == "__main__":
    main()
