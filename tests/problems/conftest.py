"""Small stand-ins for published data: a folder of faces, and nobody who asks for the real ones."""

import io
from dataclasses import replace

import numpy as np
import pytest

from expunge.problems import adult, clinc150, utkface, yaleb

N = 30


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A data folder; what lies in it need not be what was published."""
    monkeypatch.setenv("EXPUNGE_CACHE", str(tmp_path / "cache"))
    for module in (adult, clinc150, utkface, yaleb):
        monkeypatch.setattr(module, "ARCHIVE", replace(module.ARCHIVE, contents=""))
    return tmp_path


@pytest.fixture
def faces(stand_ins):
    """Thirty faces of noise, as an archive; every third trains, validates, or tests."""
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (N, 64, 64, 3), dtype=np.uint8)
    blobs = []
    for picture in pictures:
        file = io.BytesIO()
        image.fromarray(picture).save(file, "PNG")
        blobs.append(np.frombuffer(file.getvalue(), np.uint8))
    path = stand_ins / "utkface" / "utkface64.npz"
    path.parent.mkdir()
    np.savez(
        path,
        x_blob=np.concatenate(blobs),
        x_offsets=np.cumsum([0, *map(len, blobs)]),
        image_shape=np.array([64, 64, 3]),
        age=np.arange(N, dtype=np.uint8) * 3,
        gender=(np.arange(N) % 2).astype(np.int8),
        race=np.where(np.arange(N) == 4, -1, np.arange(N) % 5).astype(np.int8),
        glasses=np.ones(N, np.int8),
        glasses_source=(np.arange(N) % 3).astype(np.uint8),
        split=(np.arange(N) % 3).astype(np.uint8),
        split_names=np.array(["train", "val", "test"]),
    )
    return stand_ins
