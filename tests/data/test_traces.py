from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from burnish.data.traces import TRACES, UNKNOWN, trace
from burnish.image import FORMATS, decode


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def read(content: bytes) -> dict[str, float]:
    return dict(zip(TRACES, trace(content, decode(content)), strict=True))


PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
NOISE = Image.fromarray(PIXELS)


@pytest.mark.parametrize("format", FORMATS)
def test_a_files_format(format: str) -> None:
    found = read(save(NOISE, format))
    assert FORMATS[int(found["format"])] == format
    assert (found["quality"] == UNKNOWN) == (format != "JPEG")
    assert found["tags"] == 0
    assert found["border"] == UNKNOWN


def test_the_lower_the_quality_the_larger_the_table() -> None:
    found = [read(save(NOISE, "JPEG", quality=quality))["quality"] for quality in (95, 75, 30)]
    assert 1 <= found[0] < found[1] < found[2]


def test_tags_are_counted() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "maker", "model"
    for format in ("JPEG", "PNG", "WEBP"):
        assert read(save(NOISE, format, exif=exif))["tags"] == 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_border_of_one_colour(mode: str) -> None:
    framed = Image.new("RGB", (32, 22), (40, 40, 40))
    framed.paste(NOISE, (1, 1))
    image = framed.convert(mode)
    assert trace(np.asarray(image), image) == (UNKNOWN, UNKNOWN, UNKNOWN, 40.0)
    one = image.copy()
    one.putpixel((31, 11), tuple([90] * len(mode)) if len(mode) > 1 else 90)
    assert trace(np.asarray(one), one)[-1] == UNKNOWN


def test_images_of_one_pixel_and_of_many_bits() -> None:
    assert trace(np.zeros((1, 1), np.uint8), Image.new("L", (1, 1)))[-1] == 0.0
    assert trace(np.zeros((2, 2), np.uint8), Image.new("I;16", (2, 2)))[-1] == UNKNOWN
