"""UTKFace: 23,708 faces of 64 by 64 pixels, with age, gender and race, and glasses for some.

Real faces: for research only. The parts keep pictures of the same face together. Ages come in four
bins of about equal size. What nobody labelled is -1: race in three pictures, glasses in most.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from expunge.fitting import Fit
from expunge.problems.archives import Archive, Arrays
from expunge.problems.images import Images
from expunge.problems.networks import resnet18
from expunge.problems.pictures import strips
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Batch, Classification

ARCHIVE = Archive(
    "UTKFace",
    "https://susanqq.github.io/UTKFace",
    (
        strips(
            "utkface/utkface64.npz",
            "62a757bb6469250bd0b227ed63d1aded40b8ed09cd676d63017b06153fa6cbda",
            "age",
            "gender",
            "race",
            "glasses",
            "glasses_source",
            "split",
            "split_names",
        ),
    ),
    contents="2d47f21ce64a0ff3c54f8ca7b3dedb9a7bf0e3d13fe81e5a9064d6653a70d385",
)
KNOWN = ("gender", "age", "race", "glasses")
AGES = (0, 24, 30, 46)  # where each bin begins
_CLASSES = {"gender": 2, "age": len(AGES), "race": 5}
_MEAN, _DEVIATION = (0.60, 0.46, 0.39), (0.26, 0.23, 0.23)
_LOOKED = 1  # glasses of a random pool; elsewhere they are those that a classifier suggested


def utkface(
    *,
    data: str | Path | None = None,
    task: Literal["gender", "age", "race"] = "gender",
    size: Literal[32, 64] = 32,
    width: int = 16,
    epochs: int = 12,
    lr: float = 0.1,
) -> Problem:
    """Tell gender, the bin of the age, or race, by a residual network."""
    found = ARCHIVE.arrays(data)
    known, part = _known(found), found["split"]
    places = {str(name): k for k, name in enumerate(found["split_names"])}
    pictures = torch.from_numpy(found["x"])
    labels = known[:, KNOWN.index(task)]

    def faces(name: str) -> Images:
        rows = torch.from_numpy(part == places[name]).logical_and(labels >= 0)
        at = rows.nonzero().flatten()
        return Images(shrunk(pictures[at], size), labels[at], _MEAN, _DEVIATION, known[at])

    build = partial(resnet18, width=width, classes=_CLASSES[task])
    fit = Fit(epochs=epochs, lr=lr, schedule="onecycle")
    return Problem(
        train=faces("train"),
        validation=faces("val"),
        test=faces("test"),
        task=Classification(attributes={name: partial(known_of, name=name) for name in KNOWN}),
        recipe=Recipe(build, fit, name=f"utkface-{task}-{size}-resnet18-{width}"),
    )


def known_of(batch: Batch, name: str) -> Tensor:
    """What is known of everybody in a batch; -1 where it is not."""
    found: Tensor = batch[2][:, KNOWN.index(name)]
    return found


def shrunk(pictures: UInt8[Tensor, "n c h w"], size: int) -> UInt8[Tensor, "n c s s"]:
    """Pictures of that size: means over squares."""
    side = pictures.shape[-1] // size
    if side == 1:
        return pictures
    chunks = [
        torch.nn.functional.avg_pool2d(some.float(), side).round().to(torch.uint8)
        for some in pictures.split(1024)
    ]
    return torch.cat(chunks)


def _known(found: Arrays) -> Int[Tensor, "n k"]:
    age = np.searchsorted(AGES, found["age"], side="right") - 1
    glasses = np.where(found["glasses_source"] == _LOOKED, found["glasses"], -1)
    columns = (found["gender"], age, found["race"], glasses)
    return torch.from_numpy(np.stack([column.astype(np.int64) for column in columns], 1))
