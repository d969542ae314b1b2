"""Pictures kept as bytes: mapped from a file, normalised a batch at a time."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from expunge.problems.archives import Arrays
from expunge.tasks import Batch

Picture = Float[Tensor, "n c h w"]


@dataclass(frozen=True, slots=True)
class Normalise:
    """Turns stored pictures into numbers, channel by channel. Rows of equal ones may be joined."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def __call__(self, x: Tensor, y: Tensor, *known: Tensor) -> tuple[Tensor, ...]:
        """Turn stored rows into a batch."""
        mean, deviation = (
            torch.tensor(values, device=x.device).view(1, -1, 1, 1) * 255
            for values in (self.mean, self.deviation)
        )
        return x.float().sub_(mean).div_(deviation), y, *known


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

    @property
    def ready(self) -> Normalise:
        """What turns rows into a batch."""
        return Normalise(self.mean, self.deviation)

    def prepare(self, x: Tensor, y: Tensor, *known: Tensor) -> tuple[Tensor, ...]:
        """Turn stored rows into a batch."""
        return self.ready(x, y, *known)

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


def labelled(
    arrays: Arrays, part: str, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> Images:
    """One part of a data set: the pictures ``x_PART`` with the labels ``y_PART``."""
    pictures, labels = (torch.from_numpy(arrays[f"{what}_{part}"]) for what in "xy")
    return Images(pictures, labels, mean, deviation)
