"""Pictures kept as bytes: decoded once into a memory map, normalised a batch at a time."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from expunge.errors import MissingInput
from expunge.storing import digest_text, writing
from expunge.tasks import Batch

Picture = Float[Tensor, "n c h w"]


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Labelled pictures. They rest as bytes; a batch comes out normalised, channel by channel."""

    pictures: UInt8[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    known: Int[Tensor, "n k"] | None = None  # attributes, which a batch holds last; None: none

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(rows[0] for rows in self.prepare(*(t[index][None] for t in self.tensors)))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """One row a sample."""
        columns = () if self.known is None else (self.known,)
        return self.pictures, self.labels, *columns

    def prepare(self, x: Tensor, y: Tensor, *known: Tensor) -> tuple[Tensor, ...]:
        """Turn stored rows into a batch."""
        mean, deviation = (
            torch.tensor(values, device=x.device).view(1, -1, 1, 1) * 255
            for values in (self.mean, self.deviation)
        )
        return x.float().sub_(mean).div_(deviation), y, *known

    def only(self, rows: Int[Tensor, " m"] | slice) -> "Images":
        """The same for some of the samples."""
        known = None if self.known is None else self.known[rows]
        return replace(self, pictures=self.pictures[rows], labels=self.labels[rows], known=known)


@dataclass(frozen=True)
class CropAndFlip:
    """Move every picture of a batch by a few pixels, and mirror half of them."""

    pixels: int = 4

    def __call__(self, batch: tuple[Picture, Tensor]) -> tuple[Picture, Tensor]:
        x, y = batch
        n, _, height, width = x.shape
        top, left = torch.randint(0, 2 * self.pixels + 1, (2, n, 1), device=x.device)
        rows = top + torch.arange(height, device=x.device)
        columns = left + torch.arange(width, device=x.device)
        mirrored = torch.rand(n, 1, device=x.device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
        padded = F.pad(x, (self.pixels,) * 4).permute(0, 2, 3, 1)
        each = torch.arange(n, device=x.device)[:, None, None]
        return padded[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2), y


def mirrored(batch: Batch) -> Batch:
    """A batch of pictures, half of them mirrored."""
    x, *rest = batch
    mirror = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(mirror, x.flip(-1), x), *rest


def data_folder(data: str | Path | None) -> Path:
    """Where real data are: as told, else as the environment says."""
    found = data or os.environ.get("EXPUNGE_DATA")
    if found:
        return Path(found)
    raise MissingInput(
        "no data folder was named, and the package ships no pictures",
        hint="pass data=..., or set EXPUNGE_DATA to the folder that holds the data sets.",
    )


def archive(data: str | Path | None, path: str, published: str) -> Path:
    """The file of a data set, or an error that says where it can be had."""
    found = data_folder(data) / path
    if found.is_file():
        return found
    raise MissingInput(
        f"{found} does not exist",
        hint=f"the data set is published at {published}; docs/benchmarks.md tells its form.",
    )


def decoded(path: Path, name: str) -> UInt8[Tensor, "n c h w"]:
    """The pictures ``name`` of an archive: decoded once, and mapped from the cache ever after."""
    stat = path.stat()
    key = digest_text(str(path.resolve()), name, str(stat.st_size), str(stat.st_mtime_ns))
    kept = cache_folder() / f"{path.stem}-{name}-{key[:16]}.npy"
    if not kept.exists():
        with np.load(path) as stored, writing(kept) as file:
            np.save(file, _decoded(stored, name))
    return torch.from_numpy(np.load(kept, mmap_mode="c"))


def labelled(
    path: Path, part: str, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> Images:
    """One part of an archive: the pictures ``x_PART`` with the labels ``y_PART``."""
    with np.load(path) as stored:
        labels = torch.from_numpy(stored[f"y_{part}"]).long()
    return Images(decoded(path, f"x_{part}"), labels, mean, deviation)


def cache_folder() -> Path:
    """Where decoded data and trained models are kept between runs."""
    told = os.environ.get("EXPUNGE_CACHE") or Path.home() / ".cache" / "expunge"
    folder = Path(told)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _decoded(stored: Mapping[str, Any], name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    try:
        from PIL import Image  # noqa: PLC0415 - for encoded pictures only
    except ModuleNotFoundError as why:
        raise MissingInput(
            "Pillow is not installed, which decodes pictures",
            hint="pip install expunge[pictures].",
        ) from why
    blob, offsets = stored[f"{name}_blob"], stored[f"{name}_offsets"]
    height, width, channels = (int(size) for size in stored["image_shape"])
    strips = []
    for start, stop in pairwise(offsets):
        picture = Image.open(io.BytesIO(blob[start:stop].tobytes())).convert("RGB")
        strips.append(np.asarray(picture).reshape(-1, height, width, 3)[..., :channels])
    return np.ascontiguousarray(np.concatenate(strips).transpose(0, 3, 1, 2))
