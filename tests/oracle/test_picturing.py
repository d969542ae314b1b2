"""The PNG encoder, against a decoder that knows only the standard."""

import struct
import zlib
from base64 import b64decode

import pytest
import torch

from expunge.algebra.picturing import heat, picture, png


def decoded(file):
    """Pixels of a PNG whose rows have no filter; every chunk's sum is checked."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = [], file[8:]
    while rest:
        (size,) = struct.unpack(">I", rest[:4])
        assert zlib.crc32(rest[4 : 8 + size]) == struct.unpack(">I", rest[8 + size : 12 + size])[0]
        chunks.append((rest[4:8], rest[8 : 8 + size]))
        rest = rest[12 + size :]
    assert [name for name, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colour, *others = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, others) == (8, [0, 0, 0])
    channels = {0: 1, 2: 3}[colour]
    rows = torch.frombuffer(bytearray(zlib.decompress(chunks[1][1])), dtype=torch.uint8)
    rows = rows.view(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


def opened(address):
    start = "data:image/png;base64,"
    assert address.startswith(start)
    return decoded(b64decode(address.removeprefix(start), validate=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels_that_went_in(channels):
    pixels = torch.randint(0, 256, (5, 7, channels), dtype=torch.uint8)
    assert torch.equal(decoded(png(pixels)), pixels)


def test_a_picture_is_scaled_to_its_own_darkest_and_brightest():
    x = torch.tensor([[[-3.0, -2.0], [-1.0, 1.0]]])
    assert opened(picture(x)).flatten().tolist() == [0, 64, 128, 255]


def test_a_picture_of_one_number_is_a_picture():
    assert opened(picture(torch.full((3, 2, 4), 7.0))).shape == (2, 4, 3)


def test_many_channels_become_grey_and_wide_pictures_small():
    assert opened(picture(torch.randn(5, 10, 11))).shape == (10, 11, 1)
    assert opened(picture(torch.randn(3, 300, 50))).shape == (96, 50, 3)


def test_no_strength_is_white_and_the_strongest_black():
    found = opened(heat(torch.tensor([[0.0, 1.0], [2.0, 4.0]])))
    assert found.flatten().tolist() == [255, 191, 128, 0]
    assert opened(heat(torch.zeros(2, 2))).flatten().tolist() == [255] * 4
