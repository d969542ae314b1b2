"""Fashion-MNIST: 70,000 pictures of clothes, 28 by 28 pixels in ten classes.

The last 5,000 training pictures are the validation set; the published order is random.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from expunge.fitting import Fit
from expunge.problems.archives import Archive
from expunge.problems.images import labelled
from expunge.problems.networks import mlp, small_cnn
from expunge.problems.pictures import idx_forms, strips
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Classification

ARCHIVE = Archive(
    "Fashion-MNIST",
    "https://github.com/zalandoresearch/fashion-mnist",
    (
        strips(
            "fashion_mnist/fashion_mnist.npz",
            "39e4933c10e4fd8b5b52fb172443ae901df988d0b4bb70e5d5f6c04e7451035e",
            "y_train",
            "y_test",
        ),
        *idx_forms("fashion_mnist"),
    ),
    contents="5d58674b3e8ef4eac4d0209dbb71f0d24261956150093c9f976e27de9c304bc3",
)
PIXELS, CLASSES = 784, 10
_TRAIN = 55_000
_MEAN, _DEVIATION = (0.2860,), (0.3530,)


def fashion(
    *,
    data: str | Path | None = None,
    network: Literal["cnn", "mlp"] = "cnn",
    width: int = 16,
    epochs: int = 12,
    lr: float = 0.1,
    count: int | None = None,
) -> Problem:
    """A small convolutional network or a perceptron on the first ``count`` pictures, or on all."""
    found = ARCHIVE.arrays(data)
    train, test = (labelled(found, part, _MEAN, _DEVIATION) for part in ("train", "test"))
    fit = Fit(epochs=epochs, lr=lr, schedule="onecycle")
    build = small_cnn if network == "cnn" else perceptron
    return Problem(
        train=train.only(slice(None, _TRAIN if count is None else min(count, _TRAIN))),
        test=test,
        validation=train.only(slice(_TRAIN, None)),
        task=Classification(),
        recipe=Recipe(partial(build, width=width), fit, name=f"fashion-{network}-{width}"),
    )


def perceptron(*, width: int) -> nn.Module:
    """Two hidden layers upon the pixels."""
    return nn.Sequential(nn.Flatten(), mlp(inputs=PIXELS, width=width, classes=CLASSES))
