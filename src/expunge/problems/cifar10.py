"""CIFAR-10: 60,000 photographs of 32 by 32 pixels in ten classes.

The last 2,000 training pictures are the validation set; the published order is random.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from torch import nn

from expunge.fitting import Fit
from expunge.precision import channels_last
from expunge.problems.all_cnn import all_cnn
from expunge.problems.archives import Archive
from expunge.problems.attention import vit
from expunge.problems.images import CropAndFlip, labelled
from expunge.problems.networks import resnet18
from expunge.problems.pictures import cifar_forms, strips
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Classification

ARCHIVE = Archive(
    "CIFAR-10",
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    (
        strips(
            "cifar10/cifar10.npz",
            "1ba65800666a2b11db771c4cace640c3a36ccb472733f95b4d815a4efcacfd69",
            "y_train",
            "y_test",
        ),
        *cifar_forms("cifar10"),
    ),
    contents="c0105941965d777edcbdec74004cc087f4a70e0f92a03ecf7b3ec51b23528631",
)
_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet18,
    "all_cnn": all_cnn,
    "vit": vit,
}
_TRAIN = 48_000
_MEAN, _DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def cifar10(
    *,
    data: str | Path | None = None,
    network: Literal["resnet18", "all_cnn", "vit"] = "resnet18",
    width: int = 16,
    epochs: int = 14,
    lr: float = 0.1,
    augment: bool = True,
) -> Problem:
    """A residual network of 18 layers on CIFAR-10, or another, by a one-cycle schedule.

    Pictures are moved by two pixels at most: four, as usual, are too many for so few epochs.
    """
    found = ARCHIVE.arrays(data)
    train, test = (labelled(found, part, _MEAN, _DEVIATION) for part in ("train", "test"))
    fit = Fit(
        epochs=epochs, lr=lr, schedule="onecycle", augment=CropAndFlip(2) if augment else None
    )
    return Problem(
        train=train.only(slice(None, _TRAIN)),
        test=test,
        validation=train.only(slice(_TRAIN, None)),
        task=Classification(),
        recipe=Recipe(
            partial(_laid_out, _NETWORKS[network], width), fit, name=f"cifar10-{network}-{width}"
        ),
    )


def _laid_out(network: Callable[..., nn.Module], width: int) -> nn.Module:
    """With channels last: on a CPU, a step of the residual network takes three quarters as long."""
    return channels_last(network(width=width))
