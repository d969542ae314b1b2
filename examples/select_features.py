"""A classifier that leans on sex, and features chosen so that it leans on it less.

Incomes of the Adult data are learned from a sample in which nine of ten with a high income are
men, and nine of ten with a low one are women. Sex itself is not among the inputs, but much that
tells it is. FOCI names the inputs that tell sex, asked on rows in which sex and income have
nothing to do with each other. Their weights get a stronger L2 penalty than the others, and the
accuracy in the worst of the four groups of the test set, which is left as it is, shows what that
is good for. Two controls get the same penalty: as many inputs drawn at random, and all of them.

    python examples/select_features.py --data DIR     Adult, in DIR/tabular/adult.csv.xz
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from expunge.algebra.dependence import foci
from expunge.algebra.statistics import mean_interval
from expunge.problems.adult import ARCHIVE

NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
WORDS = ("workclass", "marital_status", "occupation", "relationship", "race", "native_country")
MANY, FEW = 1800, 200  # of one income: of the sex that the sample ties to it, and of the other
LEAST = 100  # rows that must have a word for it to be an input
BASE = 1e-3  # L2 penalty of every weight
GROUPS = [(income, sex) for income in (0, 1) for sex in (0, 1)]


@dataclass(frozen=True)
class People:
    """Inputs, whether the income is high, whether this is a man, and which rows are to learn."""

    names: tuple[str, ...]
    x: Tensor
    high: Tensor
    man: Tensor
    train: Tensor

    def group(self, income: int, sex: int) -> Tensor:
        """Whether every row is of this group."""
        return (self.high == income) & (self.man == sex)


def read(text: str) -> People:
    """Numbers standardised, words as one input each."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))

    def says(column: str, word: str) -> Tensor:
        return torch.tensor([row[column] == word for row in rows])

    inputs = {}
    for column in NUMBERS:
        values = torch.tensor([float(row[column]) for row in rows]).double()
        values = values.log1p() if column.startswith("capital") else values
        inputs[column] = (values - values.mean()) / values.std()
    for column in WORDS:
        for word in sorted({row[column] for row in rows}):
            inputs[f"{column} = {word}"] = says(column, word).double()
    kept = {name: values for name, values in inputs.items() if (values != 0).sum() >= LEAST}
    x = torch.stack([*kept.values()], 1)
    return People(
        tuple(kept), x, says("income", ">50K"), says("sex", "Male"), says("split", "train")
    )


def fitted(x: Tensor, y: Tensor, penalty: Tensor) -> Tensor:
    """Weights of a logistic regression, the last of them the intercept; one penalty a weight."""
    weights = torch.zeros(x.shape[1] + 1, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=300, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        logits = x @ weights[:-1] + weights[-1]
        loss = F.binary_cross_entropy_with_logits(logits, y.to(x))
        loss = loss + (penalty * weights[:-1].square()).sum() / 2
        loss.backward()
        return loss

    optimizer.step(objective)
    return weights.detach()


def accuracies(people: People, weights: Tensor) -> dict[str, float]:
    """In the worst of the four groups of the test set, in the mean group, and over all."""
    right = ((people.x @ weights[:-1] + weights[-1] > 0) == people.high).double()
    test = ~people.train
    found = [right[test & people.group(*group)].mean().item() for group in GROUPS]
    return {
        "worst group": min(found),
        "mean of groups": sum(found) / 4,
        "all": right[test].mean().item(),
    }


def once(people: People, strengths: Sequence[float], seed: int) -> dict[str, Any]:
    """One sample: what is chosen, and how accurate every classifier is."""
    draw = torch.Generator().manual_seed(seed)
    taken = [_some(people.train & people.group(*group), group, draw) for group in GROUPS]
    even = torch.cat([rows[:FEW] for rows in taken])  # here sex says nothing about income
    chosen = list(foci(people.x[even], people.man[even].double(), generator=draw).selected)
    anyone = torch.randperm(len(people.names), generator=draw)[: len(chosen)].tolist()
    where = {"chosen by FOCI": chosen, "as many at random": anyone, "all": slice(None)}
    rows = torch.cat(taken)

    def tried(which: list[int] | slice, strength: float) -> dict[str, float]:
        penalty = torch.full((len(people.names),), BASE, dtype=torch.double)
        penalty[which] += strength
        return accuracies(people, fitted(people.x[rows], people.high[rows], penalty))

    found = {"none": tried([], 0.0)}
    for name, which in where.items():
        found |= {f"{name}, {strength:g}": tried(which, strength) for strength in strengths}
    return {"chosen": [people.names[j] for j in chosen], "found": found}


def _some(inside: Tensor, group: tuple[int, int], draw: torch.Generator) -> Tensor:
    rows = inside.nonzero().flatten()
    count = MANY if group[0] == group[1] else FEW
    return rows[torch.randperm(len(rows), generator=draw)[:count]]


def run(people: People, strengths: Sequence[float], seeds: int) -> dict[str, Any]:
    """The study: means over samples, with standard deviations and intervals."""
    each = [once(people, strengths, seed) for seed in range(seeds)]
    table = {
        penalised: {
            measure: _told([one["found"][penalised][measure] for one in each]) for measure in first
        }
        for penalised, first in each[0]["found"].items()
    }
    return {"inputs": len(people.names), "chosen": [one["chosen"] for one in each], "table": table}


def _told(values: list[float]) -> dict[str, float]:
    numbers = torch.tensor(values, dtype=torch.double)
    found, deviation = mean_interval(numbers), numbers.std().item()
    told = {"mean": found.value, "std": deviation, "low": found.low, "high": found.high}
    return {name: round(value, 4) for name, value in told.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study and print its numbers as JSON."""
    parser = argparse.ArgumentParser(description="Penalise what tells sex, and see who gains.")
    parser.add_argument("--data", help="the folder of the data sets; else EXPUNGE_DATA")
    parser.add_argument("--seeds", type=int, default=5, help="samples to draw")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.1, 1.0, 10.0])
    asked = parser.parse_args(arguments)
    people = read(ARCHIVE.arrays(asked.data)["bytes"].tobytes().decode())
    found = run(people, asked.strengths, asked.seeds)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
