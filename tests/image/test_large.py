"""Images of more pixels than are read whole."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import burnish.image.decoding
from burnish.errors import ImageError
from burnish.image import InputSpec, convert, decode, decode_with_header, from_array, peek

from ..files import write_png, write_tiff


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


SMOOTH = np.asarray(
    from_array(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)).resize((201, 299))
)

LARGE: dict[str, bytes] = {
    "JPEG": encode(from_array(SMOOTH), "JPEG", quality=95),
    "JPEG, progressive": encode(from_array(SMOOTH), "JPEG", quality=95, progressive=True),
    "PNG": encode(from_array(SMOOTH)),
    "BMP": encode(from_array(SMOOTH), "BMP"),
    "WEBP": encode(from_array(SMOOTH), "WEBP", lossless=True),
    "TIFF": encode(from_array(SMOOTH), "TIFF"),
    "TIFF, LZW": encode(from_array(SMOOTH), "TIFF", compression="tiff_lzw"),
    "TIFF, tiles": write_tiff(SMOOTH, tile=(32, 16), deflated=True),
    "TIFF, planes": write_tiff(SMOOTH, planar=True, rows=10),
    "TIFF, 16 bits": write_tiff(SMOOTH.astype(np.uint16), tile=(32, 16)),
    "TIFF, 16 bits, strips": write_tiff(SMOOTH.astype(np.uint16), rows=7, deflated=True),
    "PNG, 16 bits": write_png(SMOOTH.astype(np.uint16)),
    "PNG, alpha": encode(from_array(np.concatenate([SMOOTH, SMOOTH[..., :1] | 255], 2))),
}


@pytest.mark.parametrize("name", LARGE)
def test_very_large_images_are_scaled_down_as_they_are_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here "very large" is 5,000 pixels; every fourth is left, as Pillow averages them."""
    expected = np.asarray(from_array(SMOOTH).reduce(4))
    spec = InputSpec(75, 51, "rgb", range=(0, 255))
    monkeypatch.setattr(burnish.image.decoding, "MAX_PIXELS", 5000)
    content = LARGE[name]
    with pytest.raises(ImageError, match=r"201x299 = 60,099 pixels; at most 5,000 .*--max-pixels"):
        decode(content, max_pixels=5000)
    picture, header = decode_with_header(content, max_pixels=100_000)
    assert (header.height, header.width) == (299, 201)
    assert peek(content, max_pixels=100_000) == header
    found = convert(picture, spec).astype(int)
    np.testing.assert_allclose(found[:-1, :-1], expected[:-1, :-1], atol=6 if "JPEG" in name else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_very_large_images_are_turned_too(
    orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = [
        encode(from_array(SMOOTH), format, exif=exif, **options)
        for format, options in (("JPEG", {"quality": 95}), ("PNG", {}), ("TIFF", {}))
    ]
    contents.append(write_tiff(SMOOTH.astype(np.uint16), tags={274: orientation}))
    contents.append(write_tiff(SMOOTH, planar=True, tags={274: orientation}))
    whole = [decode(content) for content in contents]
    monkeypatch.setattr(burnish.image.decoding, "MAX_PIXELS", 5000)
    for content, picture in zip(contents, whole, strict=True):
        small = decode(content, max_pixels=100_000)
        width, height = picture.size
        assert small.size == (-(-width // 4), -(-height // 4))
        spec = InputSpec(30, 30, "rgb", "stretch", range=(0, 255))
        # The last blocks are smaller, which moves the rest a little; a wrong turn gives 50.
        difference = convert(small, spec).astype(int) - convert(picture, spec)
        assert np.abs(difference).mean() < 6
