"""Tensors as small pictures: a PNG encoder of our own, and addresses that hold the whole file."""

import struct
import zlib
from base64 import b64encode

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

_WIDEST = 96  # pixels of a side; larger pictures are made smaller
_COLOURS = {1: 0, 3: 2}  # what PNG calls grey, and red, green and blue


def png(pixels: UInt8[Tensor, "h w c"]) -> bytes:
    """A picture of one or three channels as a PNG file."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.numpy().tobytes() for row in pixels)  # no filter
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in parts)


def picture(x: Float[Tensor, "c h w"]) -> str:
    """One sample as a ``data:`` address, scaled to its own darkest and brightest number."""
    x = x.float() if len(x) in _COLOURS else x.float().mean(0, keepdim=True)
    return _address(_divided(x - x.min(), x.max() - x.min()))


def heat(x: Float[Tensor, "h w"]) -> str:
    """One map of strengths as a ``data:`` address: zero is white, the strongest is black."""
    return _address(1 - _divided(x.float()[None], x.max().float()))


def _divided(x: Tensor, most: Tensor) -> Tensor:
    return x / most.clamp_min(torch.finfo(x.dtype).tiny)


def _address(scaled: Float[Tensor, "c h w"]) -> str:
    """A picture of numbers between zero and one, made smaller where it is large."""
    height, width = (min(side, _WIDEST) for side in scaled.shape[1:])
    small = F.adaptive_avg_pool2d(scaled, (height, width))
    pixels = (small * 255).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous()
    return f"data:image/png;base64,{b64encode(png(pixels)).decode()}"


def _chunk(name: bytes, body: bytes) -> bytes:
    sealed = name + body
    return struct.pack(">I", len(body)) + sealed + struct.pack(">I", zlib.crc32(sealed))
