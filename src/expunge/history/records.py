"""What one step leaves, in a file that only grows: framed, checked, and read lazily.

A record that was cut short, and whatever follows it, is not there for a reader.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from expunge.errors import CannotRead

_FRAME = struct.Struct("<II")  # the length of a payload, and its checksum
_HEAD = struct.Struct("<I")  # the length of its JSON
_WORD = 8  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """Which samples a step saw, and how the optimizer was set."""

    passes: tuple[Int[Tensor, " _"], ...]  # the samples of every backward pass
    aside: Int[Tensor, " _"]  # samples that were read for it, but are not of its gradient
    settings: tuple[Mapping[str, float], ...]  # of every group of parameters
    rng: Tensor | None = None  # None: nobody kept the generator
    still: tuple[int, ...] = ()  # places of parameters that had no gradient

    def without(self, gone: Int[Tensor, " _"]) -> "Record":
        """The same step, as if it had not seen these samples.

        The generator goes as well: by it, the order of a whole epoch can be drawn again.
        """
        passes = tuple(ids[~torch.isin(ids, gone)] for ids in self.passes)
        aside = self.aside[~torch.isin(self.aside, gone)]
        return Record(passes, aside, self.settings, None, self.still)

    def touches(self, samples: Int[Tensor, " _"]) -> bool:
        """Whether the step read any of these samples."""
        return bool(torch.isin(torch.cat([*self.passes, self.aside]), samples).any())


def framed(record: Record) -> bytes:
    """A record as it is appended to a file."""
    payload = _packed(record)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def payloads(path: Path) -> list[bytes]:
    """All records of a file that are whole, still packed; none where there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as why:
        raise CannotRead(f"{path} could not be read: {why.strerror}") from why
    found: list[bytes] = []
    place = 0
    while (payload := _at(data, place)) is not None:
        found.append(payload)
        place += _FRAME.size + len(payload)
    return found


def _at(data: bytes, place: int) -> bytes | None:
    if place + _FRAME.size > len(data):
        return None
    length, check = _FRAME.unpack_from(data, place)
    payload = data[place + _FRAME.size :][:length]
    return payload if length and len(payload) == length and zlib.crc32(payload) == check else None


def _packed(record: Record) -> bytes:
    words = [*record.passes, record.aside]
    words += [] if record.rng is None else [record.rng.view(torch.int64)]
    body = {
        "lengths": [len(each) for each in words],
        "passes": len(record.passes),
        "settings": [dict(group) for group in record.settings],
        "still": list(record.still),
    }
    text = json.dumps(body).encode()
    return _HEAD.pack(len(text)) + text + _squeezed(torch.cat(words).numpy().tobytes())


def unpacked(payload: bytes) -> Record:
    """The record that these bytes hold."""
    start = _HEAD.size + _HEAD.unpack_from(payload)[0]
    body = json.loads(payload[_HEAD.size : start])
    words = torch.from_numpy(np.frombuffer(_stretched(payload[start:]), np.int64).copy())
    numbers = words.split(body["lengths"])
    passes, (aside, *rng) = numbers[: body["passes"]], numbers[body["passes"] :]
    kept = rng[0].clone().view(torch.uint8) if rng else None
    return Record(passes, aside, tuple(body["settings"]), kept, tuple(body["still"]))


def _squeezed(words: bytes) -> bytes:
    # Bytes of equal rank stand together: the upper ones of small numbers then shrink to nothing.
    ranks = np.frombuffer(words, np.uint8).reshape(-1, _WORD).T
    return zlib.compress(ranks.tobytes(), 1)


def _stretched(packed: bytes) -> bytes:
    return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(_WORD, -1).T.tobytes()
