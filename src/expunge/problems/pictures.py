"""The forms in which pictures are published: encoded strips, IDX files, CIFAR's pickled batches.

Each is read into the same arrays: pictures of n by channels by height by width, and what is known
of them.
"""

import gzip
import io
import math
import pickle
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from expunge.errors import MissingInput
from expunge.problems.archives import Array, Arrays, Form, members
from expunge.problems.checksums import Checksum, published

_BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
_IDX = {"x": "images-idx3-ubyte", "y": "labels-idx1-ubyte"}
_BYTES = 0x08  # what an IDX file says of its type
_CIFAR = (3, 32, 32)
_MEMBER = re.compile(r"(?:.*/)?(data_batch_[1-5]|test_batch)")


def strips(path: str, digest: str, *known: str) -> Form:
    """An archive of numpy: ``NAME_blob`` holds encoded strips of pictures, end to end.

    What is ``known`` of the pictures lies beside them, as arrays of these names.
    """
    return Form({path: Checksum(digest)}, partial(_strips, known=known))


def _strips(paths: Sequence[Path], *, known: Sequence[str]) -> Arrays:
    (path,) = paths
    with path.open("rb") as file, np.load(file) as stored:
        encoded = [name.removesuffix("_blob") for name in stored.files if name.endswith("_blob")]
        found = {name: _labels(name, stored[name]) for name in known}
        return found | {name: _decoded(stored, name) for name in encoded}


def _decoded(stored: Mapping[str, Any], name: str) -> Array:
    try:
        from PIL import Image  # noqa: PLC0415 - for encoded pictures only
    except ModuleNotFoundError as why:
        raise MissingInput(
            "Pillow is not installed, which decodes pictures",
            hint="pip install expunge[pictures].",
        ) from why
    blob, offsets = stored[f"{name}_blob"], stored[f"{name}_offsets"]
    height, width, channels = (int(size) for size in stored["image_shape"])
    rows = []
    for start, stop in pairwise(offsets):
        picture = Image.open(io.BytesIO(blob[start:stop].tobytes())).convert("RGB")
        rows.append(np.asarray(picture).reshape(-1, height, width, 3)[..., :channels])
    return np.ascontiguousarray(np.concatenate(rows).transpose(0, 3, 1, 2))


def idx_forms(folder: str) -> Iterator[Form]:
    """Four IDX files, packed by gzip or not."""
    names = [f"{part}-{_IDX[what]}" for part in ("train", "t10k") for what in _IDX]
    for end in ("", ".gz"):
        places = [f"{folder}/{name}{end}" for name in names]
        yield Form({place: published(place) for place in places}, _idx)


def _idx(paths: Sequence[Path]) -> Arrays:
    names = [f"{what}_{part}" for part in ("train", "test") for what in _IDX]
    found = {
        name: _idx_file(path, 3 if name.startswith("x") else 1)
        for name, path in zip(names, paths, strict=True)
    }
    return {
        name: values[:, None] if name.startswith("x") else _labels(name, values)
        for name, values in found.items()
    }


def _labels(name: str, values: Array) -> Array:
    """One type for labels, whatever each form takes for them."""
    return values.astype(np.int64) if name.startswith("y") else values


def _idx_file(path: Path, dimensions: int) -> Array:
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as why:
        raise ValueError(f"{path} is cut or altered: {why}") from why
    head = 4 + 4 * dimensions
    if len(raw) <= head:
        raise ValueError(f"{path} is cut: it holds {len(raw)} bytes")
    if struct.unpack_from(">HBB", raw) != (0, _BYTES, dimensions):
        raise ValueError(f"{path} does not begin as an IDX file of bytes in {dimensions}D does")
    shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    values = np.frombuffer(raw, np.uint8, offset=head)
    if len(values) != math.prod(shape):
        raise ValueError(f"{path} holds {len(values)} values, not {shape}")
    return values.reshape(shape)


def cifar_forms(folder: str) -> Iterator[Form]:
    """CIFAR's batches for Python, unpacked or as they are fetched."""
    inside = f"{folder}/cifar-10-batches-py"
    places = [f"{inside}/{name}" for name in _BATCHES]
    yield Form({place: published(place) for place in places}, _unpacked)
    tar = f"{folder}/cifar-10-python.tar.gz"
    yield Form({tar: published(tar)}, _packed, partial(_others, inside=inside))


def _unpacked(paths: Sequence[Path]) -> Arrays:
    return _joined([_batch(path.read_bytes(), str(path)) for path in paths])


def _packed(paths: Sequence[Path]) -> Arrays:
    (path,) = paths
    files = members(path, _MEMBER)
    missing = [name for name in _BATCHES if name not in files]
    if missing:
        raise ValueError(f"there is no {' and no '.join(missing)} in it")
    return _joined([_batch(files[name], f"{name} in {path}") for name in _BATCHES])


def _others(paths: Sequence[Path], _found: Arrays, *, inside: str) -> Iterator[str]:
    """Which batches of an archive are not those that were published."""
    (path,) = paths
    files = members(path, _MEMBER)
    for name in _BATCHES:
        known = published(f"{inside}/{name}")
        if known and (told := known.fault(f"{name} in {path}", files[name])):
            yield told


def _batch(raw: bytes, name: str) -> Arrays:
    try:
        return _pictures(_Numbers(io.BytesIO(raw), encoding="bytes").load())
    except Exception as why:
        raise ValueError(f"{name} is no batch of CIFAR: {why}") from why


def _pictures(told: Any) -> Arrays:
    if not (isinstance(told, dict) and isinstance(told.get(b"data"), _Rows) and b"labels" in told):
        raise ValueError("it holds no rows of data with labels")
    rows = told[b"data"].values.astype(np.uint8).reshape(-1, *_CIFAR)
    return {"x": rows, "y": np.asarray(told[b"labels"], np.int64)}


def _joined(batches: Sequence[Arrays]) -> Arrays:
    *train, test = batches
    joined = {f"{what}_train": np.concatenate([each[what] for each in train]) for what in test}
    return joined | {f"{what}_test": values for what, values in test.items()}


class _Kind:
    """A type of numbers by its code; whatever else a file says of it is not heard."""

    def __init__(self, code: bytes | str, *_flags: object) -> None:
        found = code.decode("ascii") if isinstance(code, bytes) else code
        if found.lstrip("<>=|")[:1] not in "biuf":
            raise pickle.UnpicklingError(f"a batch of numbers holds {found!r}")
        self.code = found

    def __setstate__(self, _state: object) -> None:
        """The order of bytes, which one byte does not have."""


class _Rows:
    """An array that is about to be filled."""

    def __init__(self, *_shape: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, across, raw = state
        rows = np.frombuffer(raw, kind.code)
        self.values = rows.reshape(shape, order="F" if across else "C")


def _bytes(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Rows,
    ("numpy._core.multiarray", "_reconstruct"): _Rows,
    ("numpy", "ndarray"): None,  # named, and never called
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _bytes,  # Python's own pickles of bytes, in the old protocols
}


class _Numbers(pickle.Unpickler):
    """Opens arrays of numbers, and nothing that could do anything."""

    def find_class(self, module: str, name: str) -> Any:
        """What an array is made of."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"a batch of numbers asks for {module}.{name}") from None
