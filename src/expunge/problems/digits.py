"""Scikit-learn's bundled digits: 1,797 scans of 8 by 8 pixels, no download.

The test set is nearly half of the data, because the verdict on a class rests on the test samples
of that class alone: eighty are the fewest that can show five points of accuracy.
"""

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from expunge.fitting import Fit
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Classification

PIXELS, CLASSES = 64, 10
_TRAIN, _VALIDATION = 800, 197


def digits(*, epochs: int = 40, width: int = 128) -> Problem:
    """A two-layer perceptron on the digits, by stochastic gradient descent."""
    x, y = _data()
    held_out = _TRAIN + _VALIDATION

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Linear(PIXELS, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, CLASSES),
        )

    fit = Fit(epochs=epochs, lr=0.1, batch=50)
    return Problem(
        train=TensorDataset(x[:_TRAIN], y[:_TRAIN]),
        test=TensorDataset(x[held_out:], y[held_out:]),
        validation=TensorDataset(x[_TRAIN:held_out], y[_TRAIN:held_out]),
        task=Classification(),
        recipe=Recipe(build, fit, name=f"digits-mlp-{width}"),
    )


def _data() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - heavy, and for this problem only

    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x / 16, dtype=torch.float32)[order], torch.tensor(y)[order]
