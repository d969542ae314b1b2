"""People under lights: every person in every part, and where the light came from."""

import io

import numpy as np
import pytest
import torch

from expunge.batching import Batches
from expunge.problems.yaleb import light_of, yaleb
from expunge.splitting import Part

Image = pytest.importorskip("PIL.Image")
AZIMUTHS = np.array([-130, -70, -60, -15, -10, 0, 10, 15, 60, 70, 130, 5], np.int16)
GROUPS = (0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 2)


@pytest.fixture
def folder(stand_ins):
    pictures = np.random.default_rng(0).integers(0, 256, (24, 8, 6), dtype=np.uint8)
    blobs = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        blobs.append(np.frombuffer(file.getvalue(), np.uint8))
    path = stand_ins / "yaleb" / "yaleb_96x84.npz"
    path.parent.mkdir()
    np.savez(
        path,
        x_blob=np.concatenate(blobs),
        x_offsets=np.cumsum([0, *map(len, blobs)]),
        image_shape=np.array([8, 6, 1]),
        y=np.repeat(np.arange(2, dtype=np.uint8), 12),
        azimuth=np.tile(AZIMUTHS, 2),
    )
    return stand_ins


def test_everybody_is_in_every_part_and_the_light_is_known_in_groups(folder):
    problem = yaleb(data=folder, pictures=4)
    found, people = [], []
    for data, count in ((problem.train, 8), (problem.validation, 10), (problem.test, 6)):
        batch = Batches(Part.whole(data)).take(torch.arange(count))
        people.append(set(problem.task.labels(batch).tolist()))
        found += light_of(batch).tolist()
    assert people == [{0, 1}] * 3
    assert sorted(found) == sorted(2 * GROUPS)
