"""Extended Yale B: 38 people, each photographed under some 64 lights; 96 by 84 pixels, grey.

Real faces: for research only. Of every person 5 pictures validate, and what is left tests. Where
the light came from is known: from far left, left, the front, right or far right.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from expunge.fitting import Fit
from expunge.problems.archives import Archive
from expunge.problems.images import Images
from expunge.problems.networks import small_cnn
from expunge.problems.pictures import strips
from expunge.problems.problem import Problem
from expunge.recipe import Recipe
from expunge.tasks import Batch, Classification

ARCHIVE = Archive(
    "Extended Yale B",
    "http://vision.ucsd.edu/content/extended-yale-face-database-b-b",
    (
        strips(
            "yaleb/yaleb_96x84.npz",
            "35f2a0c208f6c92773145ed2f1eaed5527aec9b73355aae1a64ac1565f0792cd",
            "y",
            "azimuth",
        ),
    ),
    contents="5ab747978c39c33d6b5ed96bbc4da2be4d3b5d72b8221598a0b6c561cfefea10",
)
PEOPLE = 38
LIGHTS = (-60, -14, 15, 61)  # degrees of azimuth, where the next of five groups begins
_VALIDATION = 5  # pictures of every person
_MEAN, _DEVIATION = (0.26,), (0.24,)


def yaleb(
    *,
    data: str | Path | None = None,
    pictures: int = 40,
    width: int = 16,
    epochs: int = 30,
    lr: float = 0.1,
) -> Problem:
    """Tell who is in the picture: a small network, trained on so many pictures of everybody."""
    found = ARCHIVE.arrays(data)
    faces, people = (torch.from_numpy(found[name]) for name in "xy")
    light = torch.from_numpy(np.searchsorted(LIGHTS, found["azimuth"], side="right"))
    known = light.long()[:, None]
    everybody = Images(faces, people, _MEAN, _DEVIATION, known)
    place, tests = _places(people), pictures + _VALIDATION
    build = partial(small_cnn, width=width, depth=4, classes=PEOPLE)
    return Problem(
        train=everybody.only((place < pictures).nonzero().flatten()),
        validation=everybody.only(((place >= pictures) & (place < tests)).nonzero().flatten()),
        test=everybody.only((place >= tests).nonzero().flatten()),
        task=Classification(attributes={"light": light_of}),
        recipe=Recipe(
            build,
            Fit(epochs=epochs, lr=lr, batch=64, schedule="onecycle"),
            name=f"yaleb-cnn-{width}",
        ),
    )


def light_of(batch: Batch) -> Tensor:
    """Where the light came from, in groups from one side to the other."""
    found: Tensor = batch[2][:, 0]
    return found


def _places(people: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """A random place for every picture among those of its person."""
    order = torch.randperm(len(people), generator=torch.Generator().manual_seed(0))
    place = torch.empty_like(people)
    for person in people.unique():
        own = order[people[order] == person]
        place[own] = torch.arange(len(own))
    return place
