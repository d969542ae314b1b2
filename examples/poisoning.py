"""A poisoned training set, and how the poison is taken out again.

Some cars get a red patch in the corner and the label of trucks; as many trucks get the patch and
keep theirs. The model learns that the patch means truck. Then the mislabelled cars are named in a
request, and DUCK draws them to where the retained cars are.

    python examples/poisoning.py --data DIR     CIFAR-10; trains for some minutes, and once only
    python examples/poisoning.py --quick        scikit-learn's digits, in seconds
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expunge import (
    Classification,
    Evidence,
    Fit,
    Recipe,
    Request,
    Samples,
    audit,
    judge,
    retrain,
    split,
    unlearn,
)
from expunge.batching import Batches
from expunge.methods.duck import Duck
from expunge.metrics.accuracy import Accuracy
from expunge.metrics.attribution import Attribution
from expunge.observing import BATCH, observe
from expunge.outcome import Outcome
from expunge.problems import Problem
from expunge.problems.archives import cache_folder
from expunge.problems.cifar10 import cifar10
from expunge.problems.images import Images
from expunge.problems.networks import small_cnn
from expunge.reporting import render
from expunge.splitting import Part

CAR, TRUCK = 1, 9
MASS = "attribution mass in the region"


@dataclass(frozen=True)
class Study:
    """A clean problem, where the patch goes, and how many pictures of each class get it."""

    clean: Problem
    region: tuple[int, int, int, int]
    count: int
    method: Duck

    def poisoned(self) -> tuple[Problem, list[int]]:
        """The problem with patched pictures, and the positions of the mislabelled cars."""
        clean, draw = self.clean.train, torch.Generator().manual_seed(0)
        cars, trucks = (self._some(clean.labels, label, draw) for label in (CAR, TRUCK))
        train = self.patched(clean, torch.cat([cars, trucks]))
        train.labels[cars] = TRUCK
        return replace(self.clean, train=train), cars.tolist()

    def patched(self, images: Images, rows: Tensor) -> Images:
        """A copy in which these pictures carry the patch: red, or white where all is grey."""
        pictures = images.pictures.clone()
        top, bottom, left, right = self.region
        colour = torch.tensor([255, 0, 0][: pictures.shape[1]], dtype=torch.uint8)
        height, width = bottom - top, right - left
        patch = colour[:, None, None].expand(-1, height, width)
        pictures[rows, :, top:bottom, left:right] = patch
        return replace(images, pictures=pictures, labels=images.labels.clone())

    def patched_cars(self) -> Images:
        """Every car of the test set, with the patch and its true label."""
        cars = (self.clean.test.labels == CAR).nonzero().flatten()
        found = self.clean.test.only(cars)
        return self.patched(found, torch.arange(len(cars)))

    def _some(self, labels: Tensor, label: int, draw: torch.Generator) -> Tensor:
        found = (labels == label).nonzero().flatten()
        return found[torch.randperm(len(found), generator=draw)[: self.count]].sort().values


def photographs(data: str | None) -> Study:
    """CIFAR-10: 200 cars and 200 trucks with a patch of four by four pixels."""
    return Study(cifar10(data=data, width=16), (0, 4, 28, 32), 200, Duck(targets=CAR))


def digits() -> Study:
    """Small scans of digits stand in for cars (1) and trucks (9); the patch is two by two."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - for the quick variant only

    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    pictures = torch.tensor(x * 15, dtype=torch.uint8).view(-1, 1, 8, 8)[order]
    scans = Images(pictures, torch.tensor(y)[order], (0.3,), (0.35,))
    fit = Fit(epochs=12, lr=0.1, batch=50, precision="fp32")
    recipe = Recipe(partial(small_cnn, width=8, depth=2), fit, name="digits-cnn-8")
    clean = Problem(
        train=scans.only(slice(1000)),
        test=scans.only(slice(1200, None)),
        validation=scans.only(slice(1000, 1200)),
        task=Classification(),
        recipe=recipe,
    )
    return Study(clean, (0, 2, 6, 8), 25, Duck(targets=CAR, epochs=60))


def run(study: Study, cache: Path, references: int = 0, out: Path | None = None) -> dict[str, Any]:
    """Poison, train, unlearn, and tell what changed: every number before and after."""
    problem, cars = study.poisoned()
    model = problem.trained(cache=cache)
    parts = split(
        problem.train, Request(Samples(cars)), test=problem.test, validation=problem.validation
    )
    outcome = unlearn(model, parts, study.method, task=problem.task)
    compared = None
    if references:
        compared = retrain(
            parts, problem.recipe, task=problem.task, seeds=references, cache=cache / "references"
        )
    metrics = [Accuracy(), Attribution(region=study.region)]
    evidence = audit(outcome, metrics, references=compared)
    if out is not None:
        render(evidence, judge(evidence)).save(out)
    models = {"before": outcome.before, "after": outcome.after}
    models |= {"retrained": compared.members[0].load()} if compared else {}
    return numbers(study, outcome, models) | {"attribution mass in the patch": mass(evidence)}


def mass(evidence: Evidence) -> dict[str, float | None]:
    """How much of what the models' answers rest on lies in the patch, on the mislabelled cars."""
    found = evidence.measurement(MASS)
    before = None if found.original is None else found.original.value
    told = {"before": before, "after": found.value}
    return told | ({"retrained": found.target[0]} if found.target else {})


def numbers(
    study: Study, outcome: Outcome, models: Mapping[str, nn.Module]
) -> dict[str, dict[str, float]]:
    """What the models say about the mislabelled cars, about patched unseen cars, and about all."""
    forgotten, unseen, task = outcome.split.forget, Part.whole(study.patched_cars()), outcome.task

    def called(model: nn.Module, part: Part, label: int) -> float:
        answers = observe(model, Batches(part, BATCH), task).logits.argmax(1)
        return (answers == label).double().mean().item()

    def right(model: nn.Module) -> float:
        return observe(model, Batches(outcome.split.test, BATCH), task).accuracy

    def of(ask: Callable[[nn.Module], float]) -> dict[str, float]:
        return {name: ask(model) for name, model in models.items()}

    return {
        "mislabelled cars, called cars": of(lambda model: called(model, forgotten, CAR)),
        "patched unseen cars, called cars": of(lambda model: called(model, unseen, CAR)),
        "patched unseen cars, called trucks": of(lambda model: called(model, unseen, TRUCK)),
        "test accuracy": of(right),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its numbers as JSON."""
    parser = argparse.ArgumentParser(description="Poison a training set, and take the poison out.")
    parser.add_argument("--data", help="the folder of the data sets; else EXPUNGE_DATA")
    parser.add_argument("--quick", action="store_true", help="digits instead of photographs")
    parser.add_argument("--references", type=int, default=0, help="models to retrain and compare")
    parser.add_argument("--out", type=Path, help="write a report here")
    asked = parser.parse_args(arguments)
    study = digits() if asked.quick else photographs(asked.data)
    found = run(study, cache_folder() / "poisoning", asked.references, asked.out)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
