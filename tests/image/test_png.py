"""PNG files of 16 bits, of which Pillow keeps 8."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from burnish.errors import ImageError
from burnish.image import decode, decode_with_header, is_grey, peek, simplify
from burnish.image.wide import WideImage

from ..files import write_png

MODES = {1: "I;16", 2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}


@pytest.mark.parametrize("channels", MODES)
def test_all_sixteen_bits_of_every_channel_are_read(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, channels)).astype(np.uint16)
    content = write_png(values, bits=12)
    image, header = decode_with_header(content)
    assert isinstance(image, WideImage)
    np.testing.assert_array_equal(image.values, values)
    assert image.bits == 12
    assert peek(content) == header
    assert (header.height, header.width, header.mode) == (5, 7, MODES[channels])
    assert image.mode == MODES[channels]
    assert is_grey(image) == (channels < 3)
    without = decode(write_png(values))
    assert isinstance(without, WideImage)
    assert without.bits is None


def test_one_colour_may_be_transparent() -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4, 1) * np.uint16(300)
    image = decode(write_png(values, tRNS=struct.pack(">H", 300)))
    assert isinstance(image, WideImage)
    assert image.mode == "LA;16"
    assert (image.values[..., 1] == 0).sum() == 1
    assert image.values[0, 1].tolist() == [300, 0]


def test_an_opened_file_of_which_pillow_keeps_8_bits_is_refused() -> None:
    content = write_png(np.full((3, 4, 3), 700, np.uint16))
    with Image.open(io.BytesIO(content)) as image, pytest.raises(ImageError, match="give the path"):
        simplify(image)
    grey = write_png(np.full((3, 4, 1), 700, np.uint16))
    with Image.open(io.BytesIO(grey)) as image:
        kept = simplify(image)
    assert isinstance(kept, WideImage)
    assert (kept.values == 700).all()


def test_a_file_that_is_cut_off_is_refused() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 40, 3)).astype(np.uint16)
    content = write_png(values)
    for share in (0.3, 0.9):
        with pytest.raises(ImageError, match="is cut off or damaged"):
            decode(content[: int(share * len(content))])
