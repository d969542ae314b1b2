"""Scikit-learn's bundled digits: 1,797 scans of 8 by 8 pixels, no download.

The test set is nearly half of the data, because the verdict on a class rests on the test samples
of that class alone: eighty are the fewest that can show five points of accuracy.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from expunge.fitting import Fit
from expunge.problems.networks import mlp, small_cnn
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Classification

PIXELS, CLASSES = 64, 10
_TRAIN, _VALIDATION = 800, 197


def digits(
    *,
    network: Literal["mlp", "cnn"] = "mlp",
    epochs: int | None = None,
    width: int | None = None,
    count: int | None = None,
) -> Problem:
    """A perceptron (128 wide, 40 epochs) or a small convolutional network (16 wide, 20 epochs).

    Only the first ``count`` scans train, where it is given.
    """
    x, y = _data()
    held_out = _TRAIN + _VALIDATION
    if network == "cnn":
        x = x.view(-1, 1, 8, 8)
        build, name = partial(small_cnn, depth=2, width=width or 16), f"digits-cnn-{width or 16}"
    else:
        build = partial(mlp, inputs=PIXELS, width=width or 128, classes=CLASSES)
        name = f"digits-mlp-{width or 128}"
    usual = 20 if network == "cnn" else 40
    recipe = Recipe(build, Fit(epochs=epochs or usual, lr=0.1, batch=50), name)
    return Problem(
        train=TensorDataset(x[:_TRAIN][:count], y[:_TRAIN][:count]),
        test=TensorDataset(x[held_out:], y[held_out:]),
        validation=TensorDataset(x[_TRAIN:held_out], y[_TRAIN:held_out]),
        task=Classification(),
        recipe=recipe,
    )


def _data() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - heavy, and for this problem only

    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x / 16, dtype=torch.float32)[order], torch.tensor(y)[order]
