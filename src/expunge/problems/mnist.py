"""MNIST: 70,000 handwritten digits of 28 by 28 pixels in ten classes.

The last 5,000 training pictures are the validation set; the published order is random.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from expunge.fitting import Fit
from expunge.problems.archives import Archive
from expunge.problems.images import labelled
from expunge.problems.optimum import Optimum
from expunge.problems.pictures import idx_forms, strips
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Classification

ARCHIVE = Archive(
    "MNIST",
    "http://yann.lecun.com/exdb/mnist",
    (
        strips(
            "mnist/mnist.npz",
            "d231a6c431ec9eb7d96b1028bb5d7d8a47d3ccaff5858b3d5b226652d4dad4d5",
            "y_train",
            "y_test",
        ),
        *idx_forms("mnist"),
    ),
    contents="b067d0b1aec5b51f67a208cb7586c4651ddaf8cfc0ccc02749354d99af7c4113",
)
PIXELS, CLASSES = 784, 10
_TRAIN = 55_000
_MEAN, _DEVIATION = (0.1307,), (0.3081,)


def mnist(
    *,
    data: str | Path | None = None,
    network: Literal["logistic", "mlp"] = "logistic",
    epochs: int = 10,
    lr: float = 0.1,
    l2: float | None = None,
    count: int | None = None,
) -> Problem:
    """Logistic regression at its optimum, or a perceptron, on the first ``count`` pictures.

    None takes all pictures, and an ``l2`` of 0.01 for the regression, 0.0005 for the perceptron.
    The regression is kept in double precision, so that two optima can be told apart; ``epochs``
    and ``lr`` are the perceptron's.
    """
    found = ARCHIVE.arrays(data)
    train, test = (labelled(found, part, _MEAN, _DEVIATION) for part in ("train", "test"))
    if network == "mlp":
        decay = 5e-4 if l2 is None else l2
        fit = Fit(epochs=epochs, lr=lr, schedule="onecycle", weight_decay=decay)
        recipe = Recipe(perceptron, fit, name="mnist-mlp")
    else:
        recipe = Recipe(logistic, Optimum(0.01 if l2 is None else l2), name="mnist-logistic")
    return Problem(
        train=train.only(slice(None, _TRAIN if count is None else min(count, _TRAIN))),
        test=test,
        validation=train.only(slice(_TRAIN, None)),
        task=Classification(),
        recipe=recipe,
    )


class Logistic(nn.Module):
    """One linear layer, which reads pictures in the precision of its own weights."""

    def __init__(self, inputs: int, classes: int) -> None:
        """Weights as a linear layer has them at first."""
        super().__init__()
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every picture."""
        return self.head(x.flatten(1).to(self.head.weight.dtype))  # type: ignore[no-any-return]


def logistic() -> nn.Module:
    """Logistic regression of pixels, in double precision."""
    return Logistic(PIXELS, CLASSES).to(torch.float64)


def perceptron() -> nn.Module:
    """One hidden layer of a hundred."""
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 100), nn.ReLU(), nn.Linear(100, CLASSES))
