"""Checksums of files that others publish: what they should be, and what they are.

They say which file is wrong where the contents are. No file is refused for its checksum alone: one
that was packed anew may hold the same.
"""

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest, md5, sha256
from pathlib import Path
from typing import Any, Literal

# Of MNIST and Fashion-MNIST the unpacked files: their bytes follow from the pictures and labels.
UNPACKED = {
    "mnist/train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "mnist/train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "mnist/t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "mnist/t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
    "fashion_mnist/train-images-idx3-ubyte": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "fashion_mnist/train-labels-idx1-ubyte": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "fashion_mnist/t10k-images-idx3-ubyte": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "fashion_mnist/t10k-labels-idx1-ubyte": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}

# As told by others, not taken here: CIFAR's page for its archive, torchvision for the batches in
# it, and torchtext for IMDB.
TOLD = {
    "cifar10/cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar10/cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar10/cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar10/cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar10/cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar10/cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar10/cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "text/aclImdb_v1.tar.gz": "7c2ac02c03563afcf9b574c7e56c153a",
}

_KINDS: dict[str, Callable[[], Any]] = {
    "SHA-256": sha256,
    "MD5": partial(md5, usedforsecurity=False),  # as published: against accidents, not malice
}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file should have."""

    value: str
    kind: Literal["SHA-256", "MD5"] = "SHA-256"
    packed: bool = False  # by gzip; the checksum is then of what is in it

    def __str__(self) -> str:
        return f"{self.kind} {'when unpacked ' if self.packed else ''}{self.value}"

    def fault(self, name: str, file: Path | bytes) -> str:
        """How this file differs from the one that was published; empty: it does not."""
        found = self._found(file)
        if found == self.value:
            return ""
        what = f"the {self.kind} of {name}{', unpacked,' if self.packed else ''}"
        return f"{what} is {found}, and {self.value} was expected"

    def _found(self, file: Path | bytes) -> str:
        try:
            with io.BytesIO(file) if isinstance(file, bytes) else file.open("rb") as raw:
                inside = gzip.GzipFile(fileobj=raw) if self.packed else raw
                return file_digest(inside, _KINDS[self.kind]).hexdigest()
        except (OSError, EOFError, zlib.error):
            return "not to be had"


def published(place: str) -> Checksum | None:
    """That of a file in the data folder; None: nobody told it."""
    if place in TOLD:
        return Checksum(TOLD[place], "MD5")
    inside = place.removesuffix(".gz")
    return Checksum(UNPACKED[inside], packed=inside != place) if inside in UNPACKED else None
