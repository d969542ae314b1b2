"""Adult: 48,842 people of the US census of 1994, and whether each earned above $50,000.

The published parts are kept; of those who train, 3,000 validate. Sex and race stand among the
inputs, and in every batch besides, so that they can be taken out of what a model represents.
"""

import csv
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import TensorDataset

from expunge.fitting import Fit
from expunge.problems.archives import Archive, Array, packed
from expunge.problems.mnist import Logistic
from expunge.problems.networks import mlp
from expunge.problems.optimum import Optimum
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.splitting import Data
from expunge.tasks import Batch, Classification

ARCHIVE = Archive(
    "Adult",
    "https://archive.ics.uci.edu/dataset/2/adult",
    (
        packed(
            "tabular/adult.csv.xz",
            "d34d089137341eb920c76d5f47f14d76fb5daddef98e97aa93153bd484422ab2",
        ),
    ),
    contents="406adbbe0a09bedb0349924f9d00c015d8bff559269cff55bf6122d8ed3ed12b",
)
SEXES = ("Female", "Male")
RACES = ("Amer-Indian-Eskimo", "Asian-Pac-Islander", "Black", "Other", "White")
_NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
_WORDS = (
    "workclass", "marital_status", "occupation", "relationship", "race", "sex", "native_country",
)  # fmt: skip
_COMMON = 100  # people who must share a word for it to be an input
_VALIDATION = 3000

Row = dict[str, str]


def adult(
    *,
    data: str | Path | None = None,
    network: Literal["logistic", "mlp"] = "mlp",
    width: int = 64,
    epochs: int = 20,
    lr: float = 0.05,
    l2: float = 0.01,
) -> Problem:
    """Tell who earns much, by a perceptron, or by logistic regression at its optimum for ``l2``."""
    people = _read(ARCHIVE.arrays(data)["bytes"])
    x = inputs_of(people)
    held_out = torch.tensor([row["split"] == "test" for row in people])
    some = (~held_out).nonzero().flatten()
    some = some[torch.randperm(len(some), generator=torch.Generator().manual_seed(0))]
    validation, train = some[:_VALIDATION].sort().values, some[_VALIDATION:].sort().values

    def part(rows: Int[Tensor, " m"]) -> Data:
        return TensorDataset(x[rows], *(column[rows] for column in answers))

    answers = (
        _numbered(people, "income", ("<=50K", ">50K")),
        _numbered(people, "sex", SEXES),
        _numbered(people, "race", RACES),
    )
    if network == "mlp":
        build = partial(mlp, inputs=x.shape[1], width=width, classes=2)
        recipe = Recipe(build, Fit(epochs=epochs, lr=lr), name=f"adult-mlp-{width}")
    else:
        recipe = Recipe(partial(_logistic, x.shape[1]), Optimum(l2), name="adult-logistic")
    return Problem(
        train=part(train),
        test=part(held_out.nonzero().flatten()),
        validation=part(validation),
        task=Classification(attributes={"sex": sex_of, "race": race_of}),
        recipe=recipe,
    )


def sex_of(batch: Batch) -> Tensor:
    """A place in ``SEXES`` for everybody."""
    found: Tensor = batch[2]
    return found


def race_of(batch: Batch) -> Tensor:
    """A place in ``RACES`` for everybody."""
    found: Tensor = batch[3]
    return found


def inputs_of(people: Sequence[Row]) -> Float[Tensor, "n d"]:
    """Numbers standardised by those who train, and an input of its own for every common word.

    What is the same for all who train is no input.
    """
    trains = torch.tensor([row["split"] == "train" for row in people])
    columns = []
    for name in _NUMBERS:
        values = torch.tensor([float(row[name]) for row in people], dtype=torch.float64)
        values = values.log1p() if name.startswith("capital") else values
        deviation = values[trains].std()
        if deviation > 0:
            columns.append((values - values[trains].mean()) / deviation)
    for name in _WORDS:
        for word in sorted({row[name] for row in people}):
            says = torch.tensor([row[name] == word for row in people])
            if says[trains].sum() >= _COMMON:
                columns.append(says.double())
    return torch.stack(columns, 1).float()


def _numbered(people: Sequence[Row], name: str, words: Sequence[str]) -> Int[Tensor, " n"]:
    place = {word: k for k, word in enumerate(words)}
    return torch.tensor([place[row[name]] for row in people])


def _read(text: Array) -> list[Row]:
    return list(csv.DictReader(io.StringIO(text.tobytes().decode(), newline="")))


def _logistic(inputs: int) -> Logistic:
    return Logistic(inputs, 2).double()
