"""Small stand-ins for published data: a folder of faces, noise in the forms of others."""

import gzip
import io
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest

from expunge.problems import adult, clinc150, utkface, yaleb

N = 30
STRIP = 3  # pictures of a batch


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


@pytest.fixture
def coloured():
    """Six training batches' worth of tiny noise, and a test set."""
    draw = np.random.default_rng(0).integers
    train, test = 5 * STRIP, 2
    return {
        "x_train": draw(0, 256, (train, 3, 32, 32), dtype=np.uint8),
        "y_train": draw(0, 10, train),
        "x_test": draw(0, 256, (test, 3, 32, 32), dtype=np.uint8),
        "y_test": draw(0, 10, test),
    }


@pytest.fixture
def grey():
    draw = np.random.default_rng(1).integers
    return {
        f"{what}_{part}": draw(0, 256, (n, 1, 28, 28), dtype=np.uint8)
        if what == "x" else draw(0, 10, n)
        for part, n in (("train", 7), ("test", 3)) for what in "xy"
    }  # fmt: skip


@pytest.fixture
def idx():
    """Write an IDX file."""
    return _idx


@pytest.fixture
def batches():
    """Write CIFAR's own form: five training batches and one of tests, pickled."""
    return _batches


@pytest.fixture
def both():
    """Whether two sets of arrays are alike."""
    return _both


def _idx(path, values):
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    raw = head + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def _batches(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(1, 6):
        rows = slice((k - 1) * STRIP, k * STRIP)
        _batch(folder / f"data_batch_{k}", arrays["x_train"][rows], arrays["y_train"][rows])
    _batch(folder / "test_batch", arrays["x_test"], arrays["y_test"])


def _batch(path, x, y):
    told = {b"data": x.reshape(len(x), -1), b"labels": y.tolist(), b"batch_label": b"one"}
    path.write_bytes(pickle.dumps(told, protocol=2))


def _both(one, other):
    assert sorted(one) == sorted(other)
    return all(np.array_equal(one[name], other[name]) for name in one)
